//! The flame graph, as a person uses it in a browser.

use loiter::stream::Mode;
use serde_json::{Value, json};

use crate::browser::Page;
use crate::common::or_skip;
use crate::support::{Recorded, history, hostile};

const READY: &str = "return document.documentElement.hasAttribute('data-ready')";
/// Name and left and right edge of each frame that is seen.
const SEEN: &str = "return [...document.querySelectorAll('#frames > g')].filter(g => g.getAttribute('display') !== 'none')\
    .map(g => [g.querySelector('title').textContent.split('\\n')[0], g.querySelector('rect').getBBox().x, \
               g.querySelector('rect').getBBox().x + g.querySelector('rect').getBBox().width])";
const ESCAPE: &str = "\u{e00c}";

fn opened(recorded: &Recorded) -> Result<Page, String> {
    let page = Page::open(&recorded.export("svg", &[]))?;
    page.wait(READY);
    Ok(page)
}

fn names(seen: &Value) -> Vec<&str> {
    seen.as_array().unwrap().iter().map(|frame| frame[0].as_str().unwrap()).collect()
}

/// Clicks on the first frame of this name.
fn click(page: &Page, name: &str) {
    page.run(&format!(
        "[...document.querySelectorAll('#frames > g')].find(g => g.textContent.startsWith({name:?}))\
         .dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))"
    ));
}

#[test]
fn a_click_zooms_to_a_frame_and_escape_goes_back() {
    let recorded = Recorded::new(&history(Mode::All, 0, 4).1);
    let page = or_skip!(opened(&recorded));
    let all = page.run(SEEN);
    assert!(names(&all).contains(&"main.work"), "{all}");
    click(&page, "main.work");
    let zoomed = page.run(SEEN);
    let frame = |seen: &Value, name: &str| {
        let frames = seen.as_array().unwrap();
        frames.iter().find(|frame| frame[0] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    let (root, work) = (frame(&all, "all"), frame(&zoomed, "main.work"));
    assert_eq!((&work[1], &work[2]), (&root[1], &root[2]), "as wide as all was");
    assert!(names(&zoomed).contains(&"all"), "what called it stays");
    assert_eq!(page.run("return document.getElementById('reset').hidden"), json!(false));
    page.keys(ESCAPE);
    assert_eq!(page.run(SEEN), all);
    click(&page, "main.work");
    page.run("document.getElementById('reset').click()");
    assert_eq!(page.run(SEEN), all);
    assert_eq!(page.messages(), Vec::<String>::new(), "the console has nothing to say");
}

#[test]
fn a_search_marks_what_has_the_words_and_tells_their_share() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    let marked = "return document.querySelectorAll('#frames > g.hit').length";
    let found = "return document.getElementById('found').textContent";
    page.run("document.getElementById('search').focus()");
    page.keys("WAIT_here");
    assert_eq!(page.run(marked), 1);
    assert_eq!(page.run(found), "100.0 % in 1 frame");
    page.keys(ESCAPE);
    assert_eq!((page.run(marked), page.run(found)), (json!(0), json!("")));
    page.keys("(");
    assert!(page.run(marked).as_u64().is_some(), "what is searched for is text, not a pattern");
}

#[test]
fn what_the_target_named_is_text_in_a_flame_graph_and_runs_nothing() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    assert_eq!(
        page.run("return [window.hacked ?? null, document.querySelectorAll('img, image, a, iframe').length, document.querySelectorAll('script').length]"),
        json!([null, 0, 1])
    );
    let text = page.run("return document.documentElement.textContent").to_string();
    assert!(text.contains("onerror"), "the name is shown all the same");
    // A pointer on each frame and a zoom into each write its name once more.
    page.run(
        "for (const g of document.querySelectorAll('#frames > g')) { g.dispatchEvent(new PointerEvent('pointerenter')); g.dispatchEvent(new MouseEvent('click')); }",
    );
    assert_eq!(
        page.run("return [window.hacked ?? null, document.querySelectorAll('img').length]"),
        json!([null, 0])
    );
    assert_eq!(page.messages(), Vec::<String>::new());
}

#[test]
fn a_pointer_on_a_frame_shows_its_whole_name_count_and_share() {
    let recorded = Recorded::new(&hostile());
    let page = or_skip!(opened(&recorded));
    page.run("[...document.querySelectorAll('#frames > g')].find(g => g.textContent.startsWith('main.wait_here')).dispatchEvent(new PointerEvent('pointerenter'))");
    let told = page.run("return document.getElementById('told').textContent");
    assert_eq!(told, "main.wait_here: 30 goroutines, 100.0 %");
}
