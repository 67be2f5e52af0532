//! A finding in one line, for forms that have no room for more. May use: view, base.

use crate::base::Frame;
use crate::view::FindingView;

/// `2 goroutines of TestOrders are left behind: created at orders.go:12, chan receive at orders.go:20`
pub fn headline(finding: &FindingView) -> String {
    let (plural, verb) = if finding.count == 1 { ("", "is") } else { ("s", "are") };
    let noun = finding.task_kind.word();
    let tests = if finding.tests.is_empty() {
        String::new()
    } else {
        format!(" of {}", finding.tests.join(", "))
    };
    let doing = if finding.wait_reason.is_empty() { "runs" } else { &*finding.wait_reason };
    let created = match finding.spawn_site.as_deref() {
        Some(site) => format!("created at {}, ", place(Some(site))),
        None => String::new(),
    };
    format!(
        "{} {noun}{plural}{tests} {verb} left behind: {created}{doing} at {}",
        finding.count,
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
