//! The names of Go's own tests, as stacks show them.

use crate::base::Frame;

/// What the functions of a test suite begin with (`go help testfunc`).
const KINDS: [&str; 4] = ["Test", "Benchmark", "Fuzz", "Example"];

/// The test that a frame belongs to: `TestOrders` for `shop/orders.TestOrders.func1`.
pub fn test_of(frame: &Frame) -> Option<&str> {
    if !frame.file.ends_with("_test.go") {
        return None;
    }
    let in_package = frame.function.rsplit('/').next()?.split_once('.')?.1;
    // A suite's tests are methods: `(*Suite).TestOrders`.
    let name = match in_package.strip_prefix('(') {
        Some(method) => method.split_once(").")?.1,
        None => in_package,
    };
    let name = name.split(['.', '[']).next()?;
    KINDS.iter().any(|kind| is_named_as(name, kind)).then_some(name)
}

/// `Test` and `TestX` are tests, `Testament` is not.
fn is_named_as(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.starts_with(char::is_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{FrameKind, Visibility};

    fn of(function: &str, file: &str) -> Option<String> {
        let frame = Frame {
            function: function.into(),
            file: file.into(),
            line: 1,
            kind: FrameKind::Call,
            visibility: Visibility::Shown,
        };
        test_of(&frame).map(Into::into)
    }

    #[test]
    fn a_test_is_named_by_its_closures_and_methods_too() {
        for function in [
            "shop/orders.TestOrders",
            "shop/orders.TestOrders.func1",
            "shop/orders_test.TestOrders.func2.1",
            "example.com/v2.x/orders.TestOrders.gowrap1",
            "orders.(*Suite).TestOrders.func1",
            "orders.TestOrders[...]",
        ] {
            assert_eq!(of(function, "/src/orders_test.go").as_deref(), Some("TestOrders"));
        }
    }

    #[test]
    fn what_only_looks_like_a_test_names_none() {
        assert_eq!(of("orders.TestOrders", "/src/orders.go"), None);
        for function in ["orders.Testament", "orders.newTestOrders", "orders.(*T", "", "TestOrders"]
        {
            assert_eq!(of(function, "/src/orders_test.go"), None, "{function}");
        }
    }
}
