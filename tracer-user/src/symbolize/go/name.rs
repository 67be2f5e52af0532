//! How the runtime prints a function's name.

use std::borrow::Cow;

/// The first version that cuts out the type arguments of a generic method apart from those of
/// its type.
const GENERIC_METHODS: u16 = 27;

/// The name as Go 1.`minor` prints it: `panic` for its own `runtime.gopanic`, and `[...]` for
/// type arguments. Source: src/runtime/traceback.go, `printFuncName` and
/// `funcNamePiecesForPrint`; up to 1.20 the linker writes the names so already.
pub fn printed_name(name: &str, minor: u16) -> Cow<'_, str> {
    if name == "runtime.gopanic" {
        return Cow::Borrowed("panic");
    }
    match without_type_arguments(name, minor) {
        Some(short) => Cow::Owned(short),
        None => Cow::Borrowed(name),
    }
}

/// None where nothing is to be cut.
fn without_type_arguments(name: &str, minor: u16) -> Option<String> {
    let open = name.find('[')?;
    let close = name.rfind(']')?;
    let before = name.get(..open)?;
    let interior = name.get(open.checked_add(1)?..close)?;
    let after = name.get(close.checked_add(1)?..)?;
    if minor < GENERIC_METHODS || !interior.contains('[') {
        return Some(format!("{before}[...]{after}"));
    }
    match split_method(interior) {
        Split::One => Some(format!("{before}[...]{after}")),
        Split::Two(between) => Some(format!("{before}[...]{between}[...]{after}")),
        Split::Malformed => None,
    }
}

/// What stands between the first `[` and the last `]`.
enum Split<'n> {
    /// One list of type arguments.
    One,
    /// The end of one list, this, and the start of another.
    Two(&'n str),
    Malformed,
}

fn split_method(interior: &str) -> Split<'_> {
    let mut depth = 1i32;
    let mut first_end = None;
    let mut second_start = None;
    for (at, c) in interior.char_indices() {
        match c {
            '[' => {
                depth += 1;
                if depth == 1 {
                    second_start = Some(at);
                    break;
                }
            }
            ']' => {
                depth -= 1;
                if depth < 0 {
                    break;
                }
                if depth == 0 {
                    first_end = Some(at);
                }
            }
            _ => {}
        }
    }
    match (depth, first_end, second_start) {
        (1, Some(end), Some(start)) if start > end => {
            interior.get(end + 1..start).map_or(Split::Malformed, Split::Two)
        }
        (1, None, None) => Split::One,
        _ => Split::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_are_cut_out() {
        for (name, printed) in [
            ("main.main", "main.main"),
            ("runtime.gopanic", "panic"),
            ("main.Map[go.shape.int,go.shape.string]", "main.Map[...]"),
            ("main.(*Set[go.shape.[]int]).Add.func1", "main.(*Set[...]).Add.func1"),
            ("main.Map[...].func1", "main.Map[...].func1"),
        ] {
            assert_eq!(printed_name(name, 21), printed);
            assert_eq!(printed_name(name, 27), printed);
        }
    }

    #[test]
    fn since_1_27_a_generic_method_keeps_its_own_name() {
        let name = "main.(*Set[go.shape.int]).Map[go.shape.string].func1";
        assert_eq!(printed_name(name, 27), "main.(*Set[...]).Map[...].func1");
        assert_eq!(printed_name(name, 26), "main.(*Set[...].func1");
    }

    #[test]
    fn brackets_that_do_not_match_leave_the_name_as_it_is() {
        for name in ["a]b[c", "a[b", "a]"] {
            assert_eq!(printed_name(name, 21), name);
            assert_eq!(printed_name(name, 27), name);
        }
        assert_eq!(printed_name("a[b]c]d[e]f]", 27), "a[b]c]d[e]f]");
    }
}
