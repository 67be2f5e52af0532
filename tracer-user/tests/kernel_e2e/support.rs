//! A tracer for one process, and what it has seen.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use loiter::base::Pid;
use loiter::kernel::{AttachMethod, AttachTarget, Attached, Kernel, Kinds, LoadSettings};
use loiter::runtime::go::{Detector, plan};
use loiter::runtime::plan::ProbePlan;
use loiter::stream::decode::RawRecord;
use tracer_common::config::{NO_OFFSET, SlotCounters, TargetConfig};
use tracer_common::event::{Birth, Wait};

use crate::common::{GoProc, copy_program};
use crate::hand_plan;

/// Longest wait for events that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that count what is in the kernel, or measure, must not run side by side.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What came out of the ring.
#[derive(Default)]
pub struct Tally {
    pub records: u64,
    pub births: HashMap<u64, Birth>,
    pub deaths: HashSet<u64>,
    pub parks: u64,
    pub runs: u64,
    pub waits: Vec<Wait>,
    pub wakers: Vec<(u64, u64)>,
    pub process: Vec<RawRecord>,
    pub last_lost: u32,
    pub loss_steps: u64,
}

impl Tally {
    pub fn add(&mut self, record: RawRecord) {
        self.records += 1;
        let lost = record.header().lost_before;
        self.loss_steps += u64::from(lost != self.last_lost);
        self.last_lost = lost;
        match record {
            RawRecord::Birth(birth) => {
                self.births.insert(birth.goid, birth);
            }
            RawRecord::Death(task) => {
                self.deaths.insert(task.goid);
            }
            RawRecord::Park(_) => self.parks += 1,
            RawRecord::Run(_) => self.runs += 1,
            RawRecord::Ready(ready) => self.wakers.push((ready.goid, ready.waker)),
            RawRecord::Wait(wait) => self.waits.push(wait),
            RawRecord::Exec(_) | RawRecord::Exit(_) | RawRecord::Fork(_) | RawRecord::Thread(_) => {
                self.process.push(record);
            }
        }
    }

    /// Goroutines born at the busiest `go` statement.
    pub fn born_at_one_site(&self) -> usize {
        busiest(self.births.values())
    }

    /// Those of them that ended.
    pub fn ended_at_one_site(&self) -> usize {
        busiest(self.births.values().filter(|birth| self.deaths.contains(&birth.goid)))
    }
}

fn busiest<'a>(births: impl Iterator<Item = &'a Birth>) -> usize {
    let mut sites = HashMap::new();
    for birth in births {
        *sites.entry(birth.gopc).or_insert(0) += 1;
    }
    sites.into_values().max().unwrap_or(0)
}

/// The kernel part with one plan.
pub struct Tracer {
    pub kernel: Kernel,
    wakes: Wakes,
}

impl Tracer {
    pub fn load(settings: &LoadSettings) -> Self {
        let kernel = Kernel::load(settings).unwrap_or_else(|e| panic!("{e}"));
        let wakes = Wakes::of(&kernel);
        Self { kernel, wakes }
    }

    pub fn attach(&mut self, process: &GoProc, binary: &Path, kinds: Kinds) -> Attached {
        self.attach_with(process, binary, kinds, hand_plan::GO_1_27)
    }

    pub fn attach_with(
        &mut self,
        process: &GoProc,
        binary: &Path,
        kinds: Kinds,
        config: TargetConfig,
    ) -> Attached {
        let target = AttachTarget::executable(Pid(process.pid()));
        let plan = hand_plan::plan(binary);
        self.kernel.attach(&target, &plan, kinds, config).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Takes what is there.
    pub fn drain(&mut self, tally: &mut Tally) {
        loop {
            let drained = self.kernel.drain(100_000, |record| tally.add(record));
            assert_eq!(drained.malformed, 0);
            if !drained.more {
                return;
            }
        }
    }

    /// Takes what comes until a condition holds.
    pub fn drain_until(&mut self, tally: &mut Tally, condition: impl Fn(&Tally) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.drain(tally);
            if condition(tally) {
                return;
            }
            assert!(Instant::now() < end, "the events did not come; {} records did", tally.records);
            self.wait();
        }
    }

    /// Waits for the ring's fill level or a few milliseconds, as the pipeline does.
    pub fn wait(&self) {
        self.wakes.woken(Duration::from_millis(5));
    }

    /// Waits for the ring's fill level alone.
    pub fn woken(&self, patience: Duration) -> bool {
        self.wakes.woken(patience)
    }
}

/// Waits for the wake-ups that the kernel part sends: edge-triggered, since poll(2) tells of any
/// record that was not read.
struct Wakes(OwnedFd);

impl Wakes {
    fn of(kernel: &Kernel) -> Self {
        // SAFETY: no pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0);
        // SAFETY: just made, nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut event =
            libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
        let (ring, add) = (kernel.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: the event outlives the call.
        assert_eq!(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, ring, &raw mut event) }, 0);
        Self(epoll)
    }

    fn woken(&self, patience: Duration) -> bool {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let timeout = patience.as_millis() as libc::c_int;
        // SAFETY: room for one event.
        unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, timeout) == 1 }
    }
}

/// All hits of a slot.
pub fn all_hits(counters: &SlotCounters) -> u64 {
    counters.hits.iter().sum::<u64>() + counters.process_hits
}

/// All losses of a slot.
pub fn all_lost(counters: &SlotCounters) -> u64 {
    counters.lost_ring_full + counters.lost_map_full + counters.lost_user_read
}

/// What stands in the target's memory where the sites are.
pub fn text_under_sites(process: &GoProc, plan: &ProbePlan) -> Vec<Vec<u8>> {
    let memory = File::open(format!("/proc/{}/mem", process.pid())).unwrap();
    let read = |site: &loiter::runtime::plan::Site| {
        let mut bytes = vec![0; site.bytes.len()];
        memory.read_exact_at(&mut bytes, site.address).unwrap();
        bytes
    };
    plan.sites.iter().map(read).collect()
}

/// Ids of the BPF programs a process holds.
pub fn programs_of(pid: u32) -> HashSet<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let info = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    info.filter_map(|text| {
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"))?;
        id.trim().parse().ok()
    })
    .collect()
}

/// Whether the kernel still has one of these programs.
pub fn any_is_loaded(programs: &HashSet<u32>) -> bool {
    aya::programs::loaded_programs().flatten().any(|program| programs.contains(&program.id()))
}

/// Time on a CPU that a process has had, from the scheduler's own accounts.
pub fn cpu_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let times = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// Polls for what the kernel gives no event for.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Median, and the longest.
pub fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("median {median:.1?}, longest {:.1?}", times.last().copied().unwrap_or_default())
}

/// `sleeper=18 sender=21` -> ids by name.
pub fn ids(said: &str) -> HashMap<String, u64> {
    let pair = |word: &str| {
        let (name, id) = word.split_once('=').unwrap();
        (name.to_owned(), id.parse().unwrap())
    };
    said.split_whitespace().map(pair).collect()
}

/// A tracer in a process of its own: this test binary, told to run one ignored test.
pub struct TracerProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl TracerProcess {
    pub fn start(test: &str, target: &GoProc, method: AttachMethod) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]);
        command.env("LOITER_TEST_PID", target.pid().to_string());
        command.env("LOITER_TEST_METHOD", format!("{method:?}"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// In the child: what to trace, and how.
    pub fn orders() -> Option<(Pid, AttachMethod)> {
        let pid = std::env::var("LOITER_TEST_PID").ok()?.parse().ok()?;
        let method = match std::env::var("LOITER_TEST_METHOD").ok()?.as_str() {
            "PerfEvent" => AttachMethod::PerfEvent,
            "Multi" => AttachMethod::Multi,
            _ => AttachMethod::Auto,
        };
        Some((Pid(pid), method))
    }

    /// In the child: tells the parent. The test harness may have begun the line.
    pub fn say(word: &str) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{word}").and_then(|()| out.flush()).unwrap();
    }

    pub fn wait_for(&mut self, word: &str) {
        let found = self.lines.by_ref().map_while(Result::ok).any(|line| line == word);
        assert!(found, "the tracer process ended before it said {word}");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for TracerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of the target and hits, both a round of ping-pong, over a quarter of a second.
pub fn cost_a_round(tracer: &mut Tracer, process: &mut GoProc, slot: u16) -> (f64, f64) {
    let mut look = |tracer: &Tracer| {
        let said = process.ask("count", "count");
        let rounds: f64 = said.split_whitespace().next().unwrap().parse().unwrap();
        let hits = all_hits(&tracer.kernel.counters(slot).unwrap()) as f64;
        (rounds, hits, cpu_time(process.pid()).as_nanos() as f64)
    };
    let begin = look(tracer);
    let end = Instant::now() + Duration::from_millis(250);
    let mut tally = Tally::default();
    while Instant::now() < end {
        tracer.wait();
        tracer.drain(&mut tally);
    }
    let end = look(tracer);
    let rounds = end.0 - begin.0;
    ((end.2 - begin.2) / rounds, (end.1 - begin.1) / rounds)
}

/// Runs one ignored test of this binary as nobody with a few capabilities, and gives what it says.
/// The binaries are copied to where nobody can read them.
pub fn without_root((capabilities, method): (&str, &str), test: &str, target: &GoProc) -> String {
    let room = tempfile::Builder::new().prefix("loiter").tempdir_in("/tmp").unwrap();
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(room.path(), all.clone()).unwrap();
    let own = room.path().join("tests");
    let traced = room.path().join("traced");
    copy_program(&std::env::current_exe().unwrap(), &own);
    copy_program(Path::new(&format!("/proc/{}/exe", target.pid())), &traced);
    for file in [&own, &traced] {
        std::fs::set_permissions(file, all.clone()).unwrap();
    }
    let given: Vec<String> = capabilities.split(',').map(|name| format!("+{name}")).collect();
    let given = given.join(",");
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([format!("--inh-caps=-all,{given}"), format!("--ambient-caps=-all,{given}")])
        .arg(&own)
        .args(["--exact", test, "--nocapture"])
        .env("LOITER_TEST_PID", target.pid().to_string())
        .env("LOITER_TEST_METHOD", method)
        .env("LOITER_TEST_BINARY", &traced)
        .current_dir("/")
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// What the planner says of a process: file, plan, layout.
pub fn planned(process: &GoProc) -> (AttachTarget, ProbePlan, TargetConfig) {
    let target = AttachTarget::executable(Pid(process.pid()));
    let program = Detector::new().detect(target.pid).unwrap();
    let (image, source, layout) = (&program.image, &program.file, program.layout);
    let table = plan::linked_table(image, source, layout).unwrap();
    let plan = plan::plan(&plan::GoProgram { image, source, table: &table, layout }).unwrap();
    let g = &layout.g;
    let config = TargetConfig {
        min_wait_ns: 0,
        g_goid: g.goid,
        g_parent: g.parent_goid.unwrap_or(NO_OFFSET),
        g_gopc: g.gopc,
        g_startpc: g.startpc,
        g_waitreason: g.waitreason,
        g_tracking_seq: g.tracking_seq,
        g_m: g.m,
        m_curg: layout.m.curg,
    };
    (target, plan, config)
}
