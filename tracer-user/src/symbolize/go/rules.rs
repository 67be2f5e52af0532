//! Which frames the runtime's own dump shows.

use crate::base::Visibility;
use crate::object::pclntab::FuncId;

/// Since this version exported methods of package runtime count only if their type is exported.
const EXPORTED_RECEIVERS: u16 = 23;

/// What differs between versions; `runtime::go::layout::Layout::rules` makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// 27 of Go 1.27.
    pub minor: u16,
    /// `FuncIDWrapper`
    pub wrapper: FuncId,
    /// `FuncID_gopanic`
    pub gopanic: FuncId,
    /// `FuncID_sigpanic`
    pub sigpanic: FuncId,
    /// `FuncID_panicwrap`
    pub panicwrap: FuncId,
    /// Functions of the runtime that are shown all the same: `FuncID_runFinalizers` and
    /// `FuncID_runCleanups` (since 1.25).
    pub always_shown: Option<[FuncId; 2]>,
}

/// What a frame's visibility depends on, besides itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Around {
    /// The function it called: that of the frame before, shown or not.
    pub(super) callee: FuncId,
    /// No frame of the stack has been shown yet.
    pub(super) is_first: bool,
}

impl Rules {
    /// Source: `showfuncinfo`.
    pub(super) fn visibility(&self, id: FuncId, name: &str, around: Around) -> Visibility {
        if id == self.wrapper && self.elides_wrapper_calling(around.callee) {
            return Visibility::Hidden;
        }
        let shown = self.always_shown.is_some_and(|ids| ids.contains(&id))
            || (name == "runtime.gopanic" && !around.is_first)
            || (name.contains('.')
                && (!name.starts_with("runtime.") || self.is_exported_runtime(name)));
        if shown { Visibility::Shown } else { Visibility::Hidden }
    }

    /// A wrapper that called a panic function instead of what it wraps is kept.
    fn elides_wrapper_calling(&self, callee: FuncId) -> bool {
        ![self.gopanic, self.sigpanic, self.panicwrap].contains(&callee)
    }

    /// Source: `isExportedRuntime`.
    fn is_exported_runtime(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix("runtime.") else { return false };
        let is_upper = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase());
        if self.minor < EXPORTED_RECEIVERS {
            return is_upper(name);
        }
        let (receiver, name) = name.rsplit_once('.').unwrap_or(("", name));
        let receiver =
            receiver.strip_prefix("(*").and_then(|rest| rest.strip_suffix(')')).unwrap_or(receiver);
        is_upper(name) && (receiver.is_empty() || is_upper(receiver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: FuncId = FuncId::NORMAL;
    const WRAPPER: FuncId = FuncId(23);
    const GOPANIC: FuncId = FuncId(10);
    const FINALIZERS: FuncId = FuncId(18);

    fn rules(minor: u16) -> Rules {
        Rules {
            minor,
            wrapper: WRAPPER,
            gopanic: GOPANIC,
            sigpanic: FuncId(20),
            panicwrap: FuncId(15),
            always_shown: (minor >= 25).then_some([FINALIZERS, FuncId(19)]),
        }
    }

    fn is_shown(minor: u16, id: FuncId, name: &str, callee: FuncId, is_first: bool) -> bool {
        let around = Around { callee, is_first };
        rules(minor).visibility(id, name, around) == Visibility::Shown
    }

    #[test]
    fn the_runtimes_internals_are_hidden_and_its_api_is_shown() {
        for minor in [19, 27] {
            assert!(is_shown(minor, NORMAL, "main.main", NORMAL, true));
            assert!(is_shown(minor, NORMAL, "runtime.Gosched", NORMAL, true));
            assert!(!is_shown(minor, NORMAL, "runtime.gopark", NORMAL, true));
            assert!(!is_shown(minor, NORMAL, "_cgo_something", NORMAL, true));
            assert!(is_shown(minor, NORMAL, "runtime/debug.Stack", NORMAL, true));
        }
    }

    #[test]
    fn since_1_23_methods_of_exported_types_are_shown() {
        let name = "runtime.(*Func).Entry";
        assert!(!is_shown(22, NORMAL, name, NORMAL, true));
        assert!(is_shown(23, NORMAL, name, NORMAL, true));
        assert!(!is_shown(23, NORMAL, "runtime.(*mcache).Refill", NORMAL, true));
    }

    #[test]
    fn a_wrapper_is_hidden_unless_it_called_a_panic() {
        assert!(!is_shown(21, WRAPPER, "main.T.Method", NORMAL, true));
        assert!(is_shown(21, WRAPPER, "main.T.Method", GOPANIC, false));
    }

    #[test]
    fn a_panic_is_shown_in_the_middle_of_a_stack_only() {
        assert!(!is_shown(21, GOPANIC, "runtime.gopanic", NORMAL, true));
        assert!(is_shown(21, GOPANIC, "runtime.gopanic", NORMAL, false));
    }

    #[test]
    fn since_1_25_the_finalizer_goroutine_says_what_it_is() {
        assert!(!is_shown(24, FINALIZERS, "runtime.runfinq", NORMAL, true));
        assert!(is_shown(25, FINALIZERS, "runtime.runFinalizers", NORMAL, true));
    }
}
