//! Every task by itself, in the shape of Go's own `goroutine?debug=2`, so that people and tools
//! (panicparse, editors) read it as they always do. Source of the shape: runtime/traceback.go,
//! `goroutineheader`, `traceback2`, `printcreatedby1`, Go 1.19 to 1.27. Arguments are `(...)`, as
//! Go writes them for inlined frames: they are not read. Offsets (`+0x1d`) are left out, as Go
//! leaves them out of inlined frames. The labels that Go 1.27 may add to the header are left out,
//! since tools do not know them yet. May use: view, output::clean.

use std::io::{self, Write};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::{Frame, TaskState, Visibility};
use crate::output::clean::clean;
use crate::output::{frames, wait_reason};
use crate::view::TaskView;

/// The goroutine that runs `main.main`; Go does not say who created it.
const MAIN_GOROUTINE: u64 = 1;

/// Most bytes of written stacks that are kept for tasks with the same one.
const KEPT_BYTES: usize = 16 << 20;

/// Writes each task, an empty line between two.
///
/// # Errors
/// The writer's.
pub fn write_full<'a>(
    out: &mut dyn Write,
    tasks: impl IntoIterator<Item = &'a TaskView>,
) -> io::Result<()> {
    let mut stacks = Stacks::default();
    for (i, task) in tasks.into_iter().enumerate() {
        if i > 0 {
            out.write_all(b"\n")?;
        }
        write_task(out, task, &mut stacks)?;
    }
    Ok(())
}

/// Stacks as they are written. Thousands of tasks share one, in memory too: so they are known by
/// their address, which stays while the views are borrowed.
#[derive(Default)]
struct Stacks {
    texts: HashMap<*const [Arc<Frame>], Vec<u8>, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Stacks {
    fn write(&mut self, out: &mut dyn Write, frames: &Arc<[Arc<Frame>]>) -> io::Result<()> {
        let key = Arc::as_ptr(frames);
        if let Some(text) = self.texts.get(&key) {
            return out.write_all(text);
        }
        let mut text = Vec::new();
        write_stack(&mut text, frames)?;
        out.write_all(&text)?;
        if self.bytes.saturating_add(text.len()) <= KEPT_BYTES {
            self.bytes += text.len();
            self.texts.insert(key, text);
        }
        Ok(())
    }
}

fn write_stack(out: &mut dyn Write, frames: &[Arc<Frame>]) -> io::Result<()> {
    let shown = frames::shown(frames);
    if shown.is_empty() {
        // Go's words for a stack that it cannot walk; tools know them.
        out.write_all(b"\tgoroutine running on other thread; stack unavailable\n")?;
    }
    for frame in shown {
        writeln!(out, "{}(...)", clean(&frame.function))?;
        write_place(out, frame)?;
    }
    Ok(())
}

fn write_task(out: &mut dyn Write, task: &TaskView, stacks: &mut Stacks) -> io::Result<()> {
    write!(
        out,
        "{} {} [{}",
        task.kind.word(),
        task.id,
        clean(wait_reason(task).unwrap_or_else(|| task.state.word()))
    )?;
    if matches!(task.state, TaskState::Waiting | TaskState::Syscall) {
        match task.waited.known().map_or(0, |n| n.0 / 60_000_000_000) {
            0 => {}
            minutes => write!(out, ", {minutes} minutes")?,
        }
    }
    if task.locked_to_thread {
        out.write_all(b", locked to thread")?;
    }
    out.write_all(b"]:\n")?;
    stacks.write(out, &task.frames)?;
    match &task.created_by {
        Some(site) if site.visibility == Visibility::Shown && task.id != MAIN_GOROUTINE => {
            write!(out, "created by {}", clean(&site.function))?;
            if let Some(parent) = task.parent {
                write!(out, " in goroutine {parent}")?;
            }
            out.write_all(b"\n")?;
            write_place(out, site)
        }
        _ => Ok(()),
    }
}

fn write_place(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    let file = if frame.file.is_empty() { "??".into() } else { clean(&frame.file) };
    writeln!(out, "\t{file}:{}", frame.line)
}
