//! Go's function table: names, lines, stack depths.
#![no_main]

use loiter::object::pclntab::Table;

/// Functions asked: a table can state millions, and the rest is more of the same.
const MOST: usize = 64;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = Table::parse(bytes.to_vec().into()) else { return };
    let table = table.with_text(0x40_1000);
    let _ = table.inline_tree_bytes();
    let _ = table.named(&["runtime.newproc1", "runtime.park_m"]);
    for function in table.functions().take(MOST) {
        let _ = function.name();
        let _ = function.start_line();
        for pc in [function.entry(), function.entry().wrapping_add(1), function.end()] {
            let _ = function.stack_depth(pc);
            let _ = function.file_line(pc).map(|place| format!("{place:?}"));
            let _ = function.levels(pc).take(MOST).count();
            let _ = table.find(pc);
        }
    }
});
