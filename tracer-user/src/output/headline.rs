//! A finding in one line, for forms that have no room for more. May use: view, base.

use crate::base::Frame;
use crate::view::FindingView;

/// `2 goroutines of TestOrders are left behind: created at orders.go:12, chan receive at orders.go:20`
pub fn headline(finding: &FindingView) -> String {
    let (noun, verb) = match finding.count {
        1 => ("goroutine", "is"),
        _ => ("goroutines", "are"),
    };
    let tests = if finding.tests.is_empty() {
        String::new()
    } else {
        format!(" of {}", finding.tests.join(", "))
    };
    let doing = if finding.wait_reason.is_empty() { "runs" } else { &*finding.wait_reason };
    format!(
        "{} {noun}{tests} {verb} left behind: created at {}, {doing} at {}",
        finding.count,
        place(finding.spawn_site.as_deref()),
        place(finding.wait_site.as_deref()),
    )
}

/// `orders.go:12 (shop/orders.start)`
fn place(frame: Option<&Frame>) -> String {
    match frame {
        None => "a place not known".to_owned(),
        Some(f) if f.file.is_empty() => f.function.to_string(),
        Some(f) => {
            let file = f.file.rsplit('/').next().unwrap_or(&f.file);
            format!("{file}:{} ({})", f.line, f.function)
        }
    }
}
