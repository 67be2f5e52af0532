//! A list of functions that wait by nature, which a person edits.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _read_or_refused = loiter::pipeline::idle_list::parse(text, "idle.txt");
});
