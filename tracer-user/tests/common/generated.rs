//! Go programs that are too long to be kept: they are written when a test needs them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::go::{Variant, go_build_dir, target_dir};

/// How many `go` statements stand in a function.
const IN_ONE: usize = 100;
/// What the long names consist of.
pub const LONG_NAME: &str = "Quite";
/// How often.
const TIMES: usize = 1_600;
/// How deep the stacks are.
const DEPTH: usize = 60;

/// What all obey: lines on stdin, until it is closed.
const OBEY: &str = "
\tfmt.Println(\"ready\")
\tlines := bufio.NewScanner(os.Stdin)
\tfor lines.Scan() {
\t\tspawn()
\t\tfmt.Println(\"spawned\")
\t}
}
";

fn begin(also: &str) -> String {
    format!(
        "package main\n\nimport (\n\t\"bufio\"\n\t\"fmt\"\n\t\"os\"\n{also})\n\nvar never = make(chan int)\n"
    )
}

/// A program with so many `go` statements, each on a line of its own. `ready` once each was run; each line it is
/// told runs them all again, and is answered with `spawned`. What is started waits for ever.
///
/// # Errors
/// As `go_build`.
pub fn many_sites(version: &str, sites: usize) -> Result<PathBuf, String> {
    let mut text = begin("");
    text.push_str("\nfunc wait() { <-never }\n");
    let functions = sites.div_ceil(IN_ONE);
    for function in 0..functions {
        let here = IN_ONE.min(sites - function * IN_ONE);
        let _ = write!(text, "\nfunc spawn{function}() {{\n{}}}\n", "\tgo wait()\n".repeat(here));
    }
    text.push_str("\nfunc spawn() {\n");
    for function in 0..functions {
        let _ = writeln!(text, "\tspawn{function}()");
    }
    let _ = write!(text, "}}\n\nfunc main() {{\n\tspawn(){OBEY}");
    built(version, "manysites", &text)
}

/// A program with a crowd that waits deep within functions whose names are very long: what is told of it is larger
/// than a datagram.
///
/// # Errors
/// As `go_build`.
pub fn long_names(version: &str) -> Result<PathBuf, String> {
    let name = LONG_NAME.repeat(TIMES);
    let mut text = begin("\t\"sync\"\n");
    let _ = write!(
        text,
        "
var book sync.Mutex

func hold(taken chan int) {{
\tbook.Lock()
\ttaken <- 1
\t<-never
}}

//go:noinline
func {name}(depth int) int {{
\tif depth == 0 {{
\t\tbook.Lock()
\t\treturn 0
\t}}
\treturn {name}(depth-1) + 1
}}

func spawn() {{
\tfor i := 0; i < 300; i++ {{
\t\tgo {name}({DEPTH})
\t}}
}}

func main() {{
\ttaken := make(chan int)
\tgo hold(taken)
\t<-taken
\tspawn(){OBEY}"
    );
    built(version, "longnames", &text)
}

fn built(version: &str, name: &str, text: &str) -> Result<PathBuf, String> {
    let dir = target_dir().join("workloads/generated").join(name);
    fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    put(&dir.join("go.mod"), &format!("module {name}\n\ngo 1.22\n"))?;
    put(&dir.join("main.go"), text)?;
    go_build_dir(version, &dir, Variant::Stripped)
}

/// Leaves a file alone that is right: others build from it.
fn put(path: &Path, text: &str) -> Result<(), String> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let failed = |e| format!("cannot write {}: {e}", path.display());
    let own = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    let own = target_dir().join("workloads/generated").join(own);
    fs::write(&own, text).map_err(failed)?;
    fs::rename(&own, path).map_err(failed)
}
