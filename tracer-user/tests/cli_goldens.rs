//! What people and programs see, kept as files: `LOITER_BLESS=1 cargo test --test cli_goldens`
//! writes them anew; then read the difference.

mod cli_views;

use std::io;
use std::path::PathBuf;

use cli_views as views;
use jiff::tz::TimeZone;
use loiter::output::text::{Color, TextOptions};
use loiter::output::{Change, GroupBy, json, text};
use loiter::view::{DumpView, TaskView};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

#[track_caller]
fn check(name: &str, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    let shown = String::from_utf8(bytes).expect("output is UTF-8");
    assert_harmless(&shown);
    let path = golden(name);
    if std::env::var_os("LOITER_BLESS").is_some() {
        std::fs::write(&path, shown).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == shown,
        "{name} changed; LOITER_BLESS=1 accepts it\n--- kept\n{kept}\n--- now\n{shown}"
    );
}

/// Whatever a target calls its functions, only loiter's own colours reach the terminal.
#[track_caller]
fn assert_harmless(shown: &str) {
    let mut rest = shown;
    while let Some(at) = rest.find(loiter::output::clean::is_hazardous) {
        rest = &rest[at..];
        let own = rest.starts_with("\x1b[") && {
            let end = rest.find('m').unwrap_or(0);
            rest[2..end.max(2)].chars().all(|c| c.is_ascii_digit() || c == ';')
        };
        let layout = rest.starts_with('\n')
            || rest.starts_with("\t/")
            || rest.starts_with("\t??")
            || rest.starts_with("\tgoroutine");
        assert!(own || layout, "{:?}", rest.chars().take(20).collect::<String>());
        rest = &rest[1..];
    }
}

fn options(width: Option<usize>) -> TextOptions {
    TextOptions { width, color: Color::Plain, zone: TimeZone::UTC }
}

/// Piped and at three widths; then once in colour.
fn check_text(name: &str, write: impl Fn(&mut Vec<u8>, &TextOptions) -> io::Result<()>) {
    for (suffix, width) in [("piped", None), ("60", Some(60)), ("80", Some(80)), ("120", Some(120))]
    {
        check(&format!("{name}.{suffix}.txt"), |out| write(out, &options(width)));
        let mut out = Vec::new();
        write(&mut out, &options(width)).unwrap();
        for line in String::from_utf8(out).unwrap().lines() {
            let columns = unicode_width::UnicodeWidthStr::width(line);
            assert!(width.is_none_or(|w| columns <= w), "{columns} columns: {line}");
            assert_eq!(line, line.trim_end(), "spaces at the end");
        }
    }
    let colour = TextOptions { color: Color::Ansi, ..options(Some(80)) };
    check(&format!("{name}.colour.txt"), |out| write(out, &colour));
}

fn ordinary(dump: &DumpView) -> Vec<&TaskView> {
    dump.tasks.iter().filter(|t| !t.system).collect()
}

#[test]
fn a_dump_groups_what_is_alike() {
    let dump = views::dump();
    check_text("dump", |out, o| text::write_dump(out, o, &dump, &ordinary(&dump), GroupBy::Stack));
}

#[test]
fn a_dump_by_site_is_short_and_can_show_the_runtimes_own() {
    let dump = views::dump();
    let all: Vec<&TaskView> = dump.tasks.iter().collect();
    check_text("dump-site", |out, o| text::write_dump(out, o, &dump, &all, GroupBy::Site));
}

#[test]
fn a_full_dump_has_the_shape_of_gos_own() {
    let dump = views::dump();
    check("full.txt", |out| text::write_full(out, ordinary(&dump)));
}

#[test]
fn a_finding_says_what_is_stuck_and_why_that_is_known() {
    check_text("stuck", |out, o| text::write_finding(out, o, &views::stuck(), Change::Opened));
    check_text("crowd", |out, o| text::write_finding(out, o, &views::crowd(), Change::Opened));
    check_text("update", |out, o| text::write_finding(out, o, &views::crowd(), Change::Updated));
    check_text("resolved", |out, o| text::write_finding(out, o, &views::stuck(), Change::Resolved));
}

#[test]
fn a_summary_says_what_was_seen_and_what_was_lost() {
    check_text("summary", |out, o| text::write_summary(out, o, &views::summary()));
    check_text("summary-quiet", |out, o| text::write_summary(out, o, &views::quiet_summary()));
}

#[test]
fn a_process_list_is_a_table() {
    check_text("ps", |out, o| text::write_ps(out, o, &views::ps()));
}

#[test]
fn the_doctor_names_what_is_missing_and_what_it_would_cost() {
    check_text("doctor", |out, o| text::write_doctor(out, o, &views::doctor()));
}

#[test]
fn json_has_every_schema() {
    let dump = views::dump();
    check("dump.json", |out| json::write_dump(out, &dump, &ordinary(&dump)));
    check("finding.json", |out| {
        json::write_finding(out, &views::stuck(), Change::Opened)?;
        json::write_finding(out, &views::crowd(), Change::Updated)
    });
    check("summary.json", |out| {
        json::write_summary(out, &views::summary())?;
        json::write_summary(out, &views::quiet_summary())
    });
    check("ps.json", |out| json::write_ps(out, &views::ps()));
    check("doctor.json", |out| json::write_doctor(out, &views::doctor()));
}
