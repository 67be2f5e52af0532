//! What loiter answers to `--help` and to wrong usage: texts and exit codes, kept in `tests/cmd`.
//! `TRYCMD=overwrite cargo test --test cli_usage` writes them anew; then read the difference.

#[test]
fn help_and_wrong_usage_are_as_they_are_kept() {
    trycmd::TestCases::new().env("COLUMNS", "100").case("tests/cmd/*.trycmd");
}
