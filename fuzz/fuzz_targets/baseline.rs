//! A baseline file, which a person edits.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _read_or_refused = loiter::pipeline::baseline::parse(text);
});
