//! The report, as a person sees it in a browser.

use loiter::stream::Mode;

use crate::browser::Page;
use crate::common::or_skip;
use crate::support::{Recorded, busy, history, hostile};

const READY: &str = "return document.documentElement.hasAttribute('data-ready')";
const TEXT: &str = "return document.body.innerText";

fn opened(recorded: &Recorded) -> Result<Page, String> {
    let page = Page::open(&recorded.export("html", &[]))?;
    page.wait(READY);
    Ok(page)
}

#[test]
fn a_report_opens_from_disk_and_has_the_findings_with_their_evidence() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    let text = page.run(TEXT).to_string();
    for wanted in [
        "29 goroutines wait to send on a channel",
        "Because",
        "main.wait_here",
        "Records lost",
        "PID 77",
        "64 MiB",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in {text}");
    }
    assert_eq!(page.messages(), Vec::<String>::new(), "the console has nothing to say");
    let asked = page.run("return performance.getEntriesByType('resource').map(e => e.name)");
    assert_eq!(asked, serde_json::json!([]), "nothing else is asked for");
    let drawn = page.run(
        "return [...document.querySelectorAll('canvas')].filter(c => c.clientWidth > 0).map(c => \
         [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].some(b => b > 0))",
    );
    let drawn = drawn.as_array().unwrap();
    assert!(drawn.len() >= 3 && drawn.iter().all(|d| *d == true), "{drawn:?}");
}

#[test]
fn what_the_target_named_is_text_and_runs_nothing() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    assert_eq!(
        page.run("return [window.hacked ?? null, document.images.length, document.scripts.length]"),
        serde_json::json!([null, 0, 2])
    );
    assert!(page.run(TEXT).to_string().contains("onerror"), "the name is shown all the same");
    // And if one were to become markup, the policy stands in its way.
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=2\">'); \
              const s = document.createElement('script'); s.textContent = 'window.hacked=3'; document.body.append(s)");
    assert_eq!(page.run("return window.hacked ?? null"), serde_json::Value::Null);
    assert!(page.messages().iter().all(|m| m.contains("Content Security Policy")));
}

#[test]
fn search_leaves_what_has_the_words() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    let shown = "return [...document.querySelectorAll('[data-search], #rows > .row')].filter(e => !e.hidden).length";
    let all = page.run(shown).as_u64().unwrap();
    page.run("document.activeElement.blur()");
    page.keys("/");
    page.keys("main.wait_here");
    let some = page.run(shown).as_u64().unwrap();
    assert!(some > 0 && some < all, "{some} of {all}");
    let found = page.run("return document.getElementById('found').textContent");
    assert!(found.as_str().unwrap().ends_with(" found"), "{found}");
    assert!(page.run("return document.querySelectorAll('#flame .hit').length").as_u64() > Some(0));
    page.keys("nowhere");
    assert_eq!(page.run(shown), 0);
    assert!(page.run(TEXT).to_string().contains("No finding has these words."));
    page.keys("\u{e00c}");
    assert_eq!(page.run(shown).as_u64(), Some(all), "Escape shows all again");
}

#[test]
fn light_and_dark_differ_and_the_switch_wins_over_the_system() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    let background = || page.run("return getComputedStyle(document.body).backgroundColor");
    page.prefer("light");
    let (light, light_picture) = (background(), page.picture());
    page.prefer("dark");
    let (dark, dark_picture) = (background(), page.picture());
    assert_ne!(light, dark);
    assert_ne!(light_picture, dark_picture);
    page.run("const t = document.getElementById('theme'); t.value = 'light'; t.dispatchEvent(new Event('change'))");
    assert_eq!(background(), light);
    let contrast = page.run(CONTRAST);
    assert!(contrast.as_f64().unwrap() >= 4.5, "text on its ground: {contrast}");
    page.run("const t = document.getElementById('theme'); t.value = 'dark'; t.dispatchEvent(new Event('change'))");
    assert_eq!(background(), dark);
    let contrast = page.run(CONTRAST);
    assert!(contrast.as_f64().unwrap() >= 4.5, "text on its ground: {contrast}");
}

/// The least contrast of any text with the ground it stands on (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "
const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
let least = 99;
for (const e of document.querySelectorAll('main *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;";

#[test]
fn the_timeline_zooms_and_is_walked_with_keys() {
    let recorded = Recorded::new(&history(Mode::All, 0, 6).1);
    let page = or_skip!(opened(&recorded));
    let range = || page.run("return document.getElementById('range').textContent").to_string();
    page.wait("return document.getElementById('range').textContent !== ''");
    let all = range();
    page.run("document.getElementById('counts').focus()");
    page.keys("++");
    page.wait(&format!(
        "return JSON.stringify(document.getElementById('range').textContent) !== {all:?}"
    ));
    let zoomed = range();
    page.keys("0");
    page.wait(&format!(
        "return JSON.stringify(document.getElementById('range').textContent) !== {zoomed:?}"
    ));
    assert_eq!(range(), all);
    // Unfold the first site, and walk along its first goroutine.
    page.run("document.querySelector('#rows > .row > button').focus()");
    page.run("const b = document.querySelector('#rows > .row > button'); if (b.getAttribute('aria-expanded') !== 'true') b.click()");
    page.run("document.querySelector('#rows .tasks canvas').focus()");
    page.keys("\u{e014}\u{e014}");
    let picked = page.run("return document.getElementById('picked').textContent");
    assert!(picked.as_str().unwrap().starts_with("goroutine "), "{picked}");
    assert_eq!(page.messages(), Vec::<String>::new());
}

#[test]
fn a_report_without_scripts_has_its_text() {
    let recorded = Recorded::new(&hostile());
    let html = std::fs::read_to_string(recorded.export("html", &[])).unwrap();
    let text = html.split("<script").next().unwrap();
    for wanted in
        ["29 goroutines wait to send on a channel", "main.wait_here", "Records lost", "<noscript>"]
    {
        assert!(text.contains(wanted), "no `{wanted}`");
    }
    for outside in ["http://", "https://", "//cdn", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn a_report_of_a_busy_recording_stays_small_and_says_what_it_leaves_out() {
    let recorded = Recorded::new(&busy());
    let page = recorded.export("html", &[]);
    let size = std::fs::metadata(&page).unwrap().len();
    assert!(size < 6 << 20, "{size} bytes");
    let page = std::fs::read_to_string(&page).unwrap();
    for wanted in ["Left out, so that the page stays small", "20 spawn sites have no row"] {
        assert!(page.contains(wanted), "no `{wanted}`");
    }
}
