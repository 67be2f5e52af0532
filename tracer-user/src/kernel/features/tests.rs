use super::*;

/// A machine on which all is well.
fn fine() -> Features {
    Features {
        kernel: release_of("6.12.9-amd64"),
        capabilities: Capabilities { effective: u64::MAX },
        initial_user_namespace: true,
        initial_pid_namespace: true,
        seccomp: false,
        confinement: None,
        yama: Some(1),
        cookies: true,
        ring_error: None,
        btf: true,
        uprobes: true,
        sysfs: true,
        multi: MultiSupport::Expected,
        lockdown: Lockdown::Off,
        sandbox: None,
        unprivileged_bpf_disabled: Some(2),
    }
}

#[test]
fn nothing_stands_in_the_way_on_a_usual_host() {
    assert_eq!(fine().obstacles(), []);
    assert_eq!(fine().limitations(), []);
}

#[test]
fn the_floor_is_said_clearly() {
    let old = Features { kernel: release_of("5.10.0-33-amd64"), cookies: false, ..fine() };
    let Some(obstacle) = old.obstacles().into_iter().next() else { panic!() };
    let text = obstacle.to_string();
    assert!(text.contains("5.10.0-33-amd64") && text.contains("5.15"), "{text}");
}

#[test]
fn a_vendor_kernel_with_an_old_number_and_the_feature_is_taken() {
    let vendor = Features { kernel: release_of("5.14.0-503.el9.x86_64"), ..fine() };
    assert_eq!(vendor.obstacles(), []);
}

#[test]
fn the_missing_capability_is_named() {
    let effective = !(1u64 << Capabilities::PERFMON | 1u64 << Capabilities::SYS_ADMIN);
    let poor = Features { capabilities: Capabilities { effective }, ..fine() };
    assert_eq!(poor.obstacles(), [Obstacle::Capabilities { names: vec!["CAP_PERFMON"] }]);
    assert!(poor.obstacles()[0].to_string().starts_with("CAP_PERFMON missing"));
    assert_eq!(poor.perf_event_obstacle(), Some(Obstacle::PerfEventNeedsAdmin));
    let nobody = Features { capabilities: Capabilities { effective: 0 }, ..fine() };
    let names = vec!["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"];
    assert_eq!(nobody.obstacles(), [Obstacle::Capabilities { names }]);
}

#[test]
fn a_refusal_without_rights_blames_the_rights_and_with_rights_the_filter() {
    let refused = Features { ring_error: Some(libc::EPERM), seccomp: true, ..fine() };
    let by = Refuser::Seccomp;
    assert_eq!(refused.obstacles(), [Obstacle::Refused { errno: libc::EPERM, by }]);
    assert!(refused.obstacles()[0].to_string().contains("seccomp"));
    let nobody = Features { capabilities: Capabilities { effective: 0 }, ..refused };
    assert!(matches!(nobody.obstacles()[..], [Obstacle::Capabilities { .. }]));
}

#[test]
fn a_refusal_by_a_security_module_names_its_label_and_the_remedy() {
    let context = "system_u:system_r:container_t:s0:c1,c2".to_owned();
    let confinement = Some(Confinement::SeLinux { context });
    let refused = Features { ring_error: Some(libc::EACCES), seccomp: true, confinement, ..fine() };
    let text = refused.obstacles()[0].to_string();
    assert!(text.contains("container_t") && text.contains("spc_t"), "{text}");
    let confinement = Some(Confinement::AppArmor { profile: "docker-default".into() });
    let refused = Features { ring_error: Some(libc::EPERM), confinement, ..fine() };
    let text = refused.obstacles()[0].to_string();
    assert!(text.contains("docker-default") && text.contains("Unconfined"), "{text}");
    let refused = Features { ring_error: Some(libc::EPERM), ..fine() };
    assert!(refused.obstacles()[0].to_string().contains("audit log"));
}

#[test]
fn yama_at_its_strictest_is_an_obstacle() {
    let strict = Features { yama: Some(3), ..fine() };
    assert_eq!(strict.obstacles(), [Obstacle::Yama]);
    assert_eq!(Features { yama: Some(2), ..fine() }.obstacles(), []);
}

#[test]
fn gvisor_is_recognised_by_its_version_or_its_log() {
    let version = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n";
    assert_eq!(sandbox_of(version, ""), Some(Sandbox::GVisor));
    assert_eq!(
        sandbox_of("Linux version 6.1.0", "[    0.000000] Starting gVisor...\n"),
        Some(Sandbox::GVisor)
    );
    assert_eq!(sandbox_of("Linux version 6.1.0 (gcc 12)", "[    0.000000] Linux version"), None);
    let inside =
        Features { sandbox: Some(Sandbox::GVisor), ring_error: Some(libc::ENOSYS), ..fine() };
    assert_eq!(inside.obstacles(), [Obstacle::GVisor]);
}

#[test]
fn releases_with_the_doubtful_filter_are_tried() {
    assert_eq!(multi_support((6, 5)), MultiSupport::Absent);
    assert_eq!(multi_support((6, 6)), MultiSupport::ToBeTried);
    assert_eq!(multi_support((6, 10)), MultiSupport::ToBeTried);
    assert_eq!(multi_support((6, 18)), MultiSupport::Expected);
}

#[test]
fn odd_texts_are_read_or_left() {
    assert_eq!(release_of("6.18.44-fc").number, (6, 18));
    assert_eq!(release_of("weird").number, (0, 0));
    assert_eq!(lockdown_of("none [integrity] confidentiality\n"), Lockdown::Integrity);
    assert_eq!(lockdown_of("none integrity [confidentiality]\n"), Lockdown::Confidentiality);
    assert!(is_initial_map("         0          0 4294967295\n"));
    assert!(!is_initial_map("         0       1000          1\n"));
    assert_eq!(status_hex("Seccomp:\t2\n", "Seccomp:"), Some(2));
}
