//! What a collector says of what it took: "partial success" of OTLP. Its words may be anybody's: bounded and made
//! harmless. May use: prost, output::clean.

use prost::Message as _;

use crate::output::clean::clean;

use super::proto::Response;

/// Characters of a collector's words that are told.
const MAX_WORDS: usize = 300;

/// What a collector adds when it takes something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Data points or log records that it did not take, and will not take if it is told again.
    pub rejected: u64,
    /// Its words; may be empty.
    pub words: String,
}

/// The remark in the body of an answer that says "taken". What cannot be read is none: the answer stands.
pub fn remark(body: &[u8]) -> Option<Remark> {
    let said = Response::decode(body).ok()?.partial_success?;
    let rejected = u64::try_from(said.rejected).unwrap_or(0);
    let words: String = said.error_message.trim().chars().take(MAX_WORDS).collect();
    let words = clean(&words).into_owned();
    (rejected > 0 || !words.is_empty()).then_some(Remark { rejected, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ExportMetricsServiceResponse { partial_success: { rejected_data_points: 3, error_message: "too old" } }`
    const SAID: &[u8] = b"\x0a\x0b\x08\x03\x12\x07too old";

    #[test]
    fn what_a_collector_did_not_take_is_told_with_its_reason() {
        let remark = remark(SAID).unwrap();
        assert_eq!(remark, Remark { rejected: 3, words: "too old".to_owned() });
    }

    #[test]
    fn an_answer_without_a_remark_and_one_that_is_cut_off_say_nothing() {
        assert_eq!(remark(b""), None);
        assert_eq!(remark(b"\x0a\x00"), None, "an empty one is as none");
        for end in 1..SAID.len() {
            assert_eq!(remark(&SAID[..end]), None, "{end}");
        }
    }

    #[test]
    fn words_that_would_steer_a_terminal_or_fill_a_log_are_made_harmless() {
        let words = format!("\u{1b}[2J{}", "x".repeat(10_000));
        let mut body = vec![0x12, 0x94, 0x4e];
        body.extend(words.bytes());
        let mut whole = vec![0x0a, 0x97, 0x4e];
        whole.extend(body);
        let remark = remark(&whole).unwrap();
        assert!(remark.words.starts_with("\\u{1b}[2Jxx"), "{}", remark.words);
        assert!(remark.words.len() < 2 * MAX_WORDS, "{}", remark.words.len());
    }
}
