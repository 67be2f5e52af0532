//! The configuration file of `loiter watch`: its keys are the long options of the command, so that there
//! is one set of names, one set of checks, and one place that explains each. Flags win over it.
//! May use: cli, pipeline::settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::exit;
use super::watch::{FollowArgs, WatchArgs};
use crate::pipeline::settings::{Glob, Override};

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Most overrides.
const MAX_OVERRIDES: usize = 256;
/// Names this much like a known one are taken for a slip.
const ALIKE: f64 = 0.7;

/// The name of the tables that say what is different for some processes.
const TARGET: &str = "target";
/// What they may say, beside `name`.
const OVERRIDES: [&str; 4] = ["budget", "events", "min-wait", "interval"];
/// Options that make no sense in a file.
const NOT_IN_FILE: [&str; 4] = ["config", "check-config", "pid", "help"];
/// Options that are about `all`: where processes are named on the command line they mean nothing.
const OF_ALL: [&str; 9] =
    ["all", "name", "cgroup", "container", "pod", "namespace", "exclude", "settle", "max-targets"];
/// Options that are taken over when the file is read again.
const CHANGE: [&str; 19] = [
    "name",
    "cgroup",
    "container",
    "pod",
    "namespace",
    "exclude",
    "settle",
    "max-targets",
    "events",
    "budget",
    "min-wait",
    "stuck-after",
    "crowd-min",
    "leak-after",
    "growth-after",
    "interval",
    "idle",
    "idle-file",
    "baseline",
];

/// What a file and the command line come to.
pub struct Effective {
    /// As if all of it had been typed.
    pub args: WatchArgs,
    /// What is different for some processes.
    pub overrides: Vec<Override>,
    matches: ArgMatches,
}

/// One key of the file.
struct Entry {
    line: usize,
    key: String,
    /// As the options are typed.
    words: Vec<String>,
}

/// Reads the file that the command line names.
///
/// # Errors
/// The first line that is wrong, and how it would be right.
pub fn effective(path: &Path) -> anyhow::Result<Effective> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let of_typed = matches_of(&typed).map_err(|error| exit::usage(words(&error)))?;
    let file = read(path).map_err(|why| exit::usage(format!("{}: {why}", path.display())))?;
    let named = ["positional", "option"].iter().any(|id| is_typed(&of_typed, id));
    let mut all = typed;
    for entry in &file.entries {
        let of_all = OF_ALL.contains(&entry.key.as_str());
        let overruled = is_typed(&of_typed, &id_of(&entry.key)) || named && of_all;
        if !overruled {
            all.extend(entry.words.iter().map(OsString::from));
        }
    }
    let failed = |error: clap::Error| exit::usage(format!("{}: {}", path.display(), words(&error)));
    let matches = matches_of(&all).map_err(failed)?;
    let args = WatchArgs::from_arg_matches(&matches).map_err(failed)?;
    Ok(Effective { args, overrides: file.overrides, matches })
}

impl Effective {
    /// The options that differ and need a restart.
    pub fn fixed(&self, before: &BTreeMap<String, Vec<OsString>>) -> Vec<String> {
        let now = self.values();
        let changed = |key: &&String| before.get(*key) != now.get(*key);
        let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let needs = |key: &&String| !CHANGE.contains(&key.as_str());
        keys.into_iter().filter(changed).filter(needs).map(|key| format!("`{key}`")).collect()
    }

    /// What is asked for, by the names of the options.
    pub fn values(&self) -> BTreeMap<String, Vec<OsString>> {
        let command = watch_command();
        let known = in_file(&command).filter_map(|arg| {
            let values = self.matches.try_get_raw(arg.get_id().as_str()).ok().flatten()?;
            Some((arg.get_long()?.to_owned(), values.map(Into::into).collect()))
        });
        known.collect()
    }

    /// The settings as a file that would say the same, with where each came from.
    pub fn told(&self, path: &Path) -> String {
        let command = watch_command();
        let mut out = format!("# {}: right\n", path.display());
        let values = self.values();
        for arg in in_file(&command) {
            let Some((key, id)) = arg.get_long().map(|key| (key, arg.get_id().as_str())) else {
                continue;
            };
            let Some(values) = values.get(key) else {
                continue;
            };
            let (before, origin) = match self.matches.value_source(id) {
                // Not to be read again as if it was asked for: it may need another option.
                Some(ValueSource::DefaultValue) => ("# ", "  # default"),
                _ => ("", ""),
            };
            let shown: Vec<String> =
                values.iter().map(|value| shown(&value.to_string_lossy())).collect();
            let value = match (arg.get_action(), shown.as_slice()) {
                (ArgAction::Append, _) => format!("[{}]", shown.join(", ")),
                (_, [one]) => one.clone(),
                _ => continue,
            };
            out.push_str(&format!("{before}{key} = {value}{origin}\n"));
        }
        for other in &self.overrides {
            out.push_str(&format!("\n[[{TARGET}]]\nname = {}\n", shown(other.name.text())));
            let lines = [
                other.budget.map(|budget| match budget {
                    Some(budget) => format!("budget = \"{}%\"", budget.part() * 100.0),
                    None => "budget = \"off\"".to_owned(),
                }),
                other.events.map(|mode| format!("events = \"{}\"", mode.word())),
                other.min_wait.map(|wait| format!("min-wait = \"{}ns\"", wait.0)),
                other.interval.map(|interval| format!("interval = \"{}ns\"", interval.0)),
            ];
            for line in lines.into_iter().flatten() {
                out.push_str(&line);
                out.push('\n');
            }
        }
        out
    }
}

/// As TOML has it.
fn shown(text: &str) -> String {
    match text.parse::<i64>().is_ok() || matches!(text, "true" | "false") {
        true => text.to_owned(),
        false => toml::Value::String(text.to_owned()).to_string(),
    }
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).unwrap_or(false)
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// The options of the command, by the definition that reads the command line.
fn watch_command() -> Command {
    let mut all = super::Cli::command();
    all.build();
    all.find_subcommand("watch").cloned().unwrap_or_else(|| Command::new("watch"))
}

/// The options that a file may have: not those of every command.
fn in_file(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_own = |arg: &&Arg| !arg.is_global_set();
    let fits = |arg: &&Arg| arg.get_long().is_some_and(|key| !NOT_IN_FILE.contains(&key));
    command.get_arguments().filter(is_own).filter(fits)
}

/// clap's name of an option.
fn id_of(key: &str) -> String {
    let command = watch_command();
    let found = command.get_arguments().find(|arg| arg.get_long() == Some(key));
    found.map_or_else(|| key.to_owned(), |arg| arg.get_id().to_string())
}

fn matches_of(words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut all = super::Cli::command().try_get_matches_from(words)?;
    Ok(all.remove_subcommand().map(|(_, matches)| matches).unwrap_or_default())
}

/// What stands before the first empty line says it.
fn words(error: &clap::Error) -> String {
    let text = error.to_string();
    let said: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let said = said.join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

/// A file that was read.
struct Parsed {
    entries: Vec<Entry>,
    overrides: Vec<Override>,
}

fn read(path: &Path) -> anyhow::Result<Parsed> {
    let mut text = String::new();
    let file = File::open(path).context("cannot be opened")?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).context("cannot be read")?;
    if text.len() as u64 > MAX_BYTES {
        anyhow::bail!("longer than {MAX_BYTES} bytes");
    }
    parse(&text).map_err(|(line, why)| anyhow::anyhow!("line {line}: {why}"))
}

/// A line, and what is wrong with it.
type Wrong = (usize, String);

fn parse(text: &str) -> Result<Parsed, Wrong> {
    let line = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|&&b| b == b'\n').count() + 1
    };
    let table = DeTable::parse(text).map_err(|error| {
        (line(error.span().map_or(0, |span| span.start)), error.message().to_owned())
    })?;
    let command = watch_command();
    let mut parsed = Parsed { entries: Vec::new(), overrides: Vec::new() };
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in keys {
        let at = line(key.span().start);
        if key.get_ref() == TARGET {
            parsed.overrides = overrides(value, &line)?;
            continue;
        }
        let entry = entry(&command, key.get_ref(), value, at)?;
        check(&entry)?;
        parsed.entries.push(entry);
    }
    Ok(parsed)
}

/// A key and its value, as they would be typed.
fn entry(
    command: &Command,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    line: usize,
) -> Result<Entry, Wrong> {
    let Some(arg) = in_file(command).find(|arg| arg.get_long() == Some(key)) else {
        let known = in_file(command).filter_map(Arg::get_long).chain([TARGET]);
        return Err((line, unknown(key, known)));
    };
    let many = matches!(arg.get_action(), ArgAction::Append);
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let may_stand_alone = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
    let option = format!("--{key}");
    let wrong = |wanted: &str| (line, format!("`{key}` is {wanted}"));
    let words = match value.get_ref() {
        DeValue::Boolean(on) if is_flag || may_stand_alone => {
            if *on {
                vec![option]
            } else {
                Vec::new()
            }
        }
        _ if is_flag => return Err(wrong("true or false")),
        DeValue::Array(values) if many => values
            .iter()
            .map(|value| Some(format!("{option}={}", scalar(value.get_ref())?)))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a list of texts"))?,
        value => {
            let value = scalar(value).ok_or_else(|| wrong("a text or a number"))?;
            vec![format!("{option}={value}")]
        }
    };
    Ok(Entry { line, key: key.to_owned(), words })
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// Whether clap takes the value; that others are missing is told when all are there.
fn check(entry: &Entry) -> Result<(), Wrong> {
    use clap::error::ErrorKind::{InvalidValue, ValueValidation};
    let typed = ["loiter", "watch", "--all"].into_iter().map(OsString::from);
    let typed: Vec<OsString> = typed.chain(entry.words.iter().map(OsString::from)).collect();
    match matches_of(&typed) {
        Err(error) if matches!(error.kind(), InvalidValue | ValueValidation) => {
            Err((entry.line, words(&error)))
        }
        _ => Ok(()),
    }
}

fn unknown<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let alike = |known: &&'k str| strsim::jaro_winkler(key, known);
    let nearest = known.max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|nearest| alike(nearest) >= ALIKE) {
        Some(nearest) => format!("there is no key `{key}`; did you mean `{nearest}`?"),
        None => format!(
            "there is no key `{key}`: keys are the long options of `loiter watch --help`, and `[[{TARGET}]]`"
        ),
    }
}

fn overrides(
    value: &Spanned<DeValue<'_>>,
    line: &dyn Fn(usize) -> usize,
) -> Result<Vec<Override>, Wrong> {
    let DeValue::Array(tables) = value.get_ref() else {
        let why = format!("`{TARGET}` is a list of tables: write [[{TARGET}]]");
        return Err((line(value.span().start), why));
    };
    if tables.len() > MAX_OVERRIDES {
        let why = format!("more than {MAX_OVERRIDES} tables [[{TARGET}]]");
        return Err((line(value.span().start), why));
    }
    tables.iter().map(|table| one_override(table, line)).collect()
}

fn one_override(
    table: &Spanned<DeValue<'_>>,
    line: &dyn Fn(usize) -> usize,
) -> Result<Override, Wrong> {
    let begins = line(table.span().start);
    let DeValue::Table(keys) = table.get_ref() else {
        return Err((begins, format!("`{TARGET}` is a list of tables: write [[{TARGET}]]")));
    };
    let command = watch_command();
    let mut name = None;
    let mut typed: Vec<OsString> = ["loiter", "watch", "--all"].map(OsString::from).to_vec();
    let mut said = Vec::new();
    for (key, value) in keys {
        let at = line(key.span().start);
        let key: &str = key.get_ref();
        if key == "name" {
            let glob = value.get_ref().as_str().and_then(Glob::new);
            name = Some(glob.ok_or_else(|| (at, "`name` is a pattern for names".to_owned()))?);
            continue;
        }
        if !OVERRIDES.contains(&key) {
            return Err((at, unknown(key, OVERRIDES.into_iter().chain(["name"]))));
        }
        let entry = entry(&command, key, value, at)?;
        check(&entry)?;
        typed.extend(entry.words.iter().map(OsString::from));
        said.push(key);
    }
    let name = name.ok_or_else(|| (begins, format!("[[{TARGET}]] needs a `name`")))?;
    let args = matches_of(&typed)
        .and_then(|matches| FollowArgs::from_arg_matches(&matches))
        .map_err(|error| (begins, words(&error)))?;
    let says = |key: &str| said.contains(&key);
    Ok(args.as_override(name, &says))
}

/// Where the configuration is, and whether it is only to be checked.
#[derive(clap::Args, Debug)]
pub struct ConfigArgs {
    /// Take what is not given here from FILE: TOML whose keys are these options (docs/daemon.md). It is
    /// read again on SIGHUP
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Only tell what --config comes to; the exit code is 2 if it is wrong
    #[arg(long, requires = "config")]
    pub check_config: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Wrong {
        match parse(text) {
            Ok(_) => panic!("{text} is taken"),
            Err(why) => why,
        }
    }

    #[test]
    fn keys_are_the_options_of_the_command() {
        let text = "all = true\ninterval = \"5s\"\nname = [\"a*\", \"b\"]\ncrowd-min = 7\n";
        let parsed = parse(text).unwrap();
        let words: Vec<String> = parsed.entries.into_iter().flat_map(|entry| entry.words).collect();
        assert_eq!(words, ["--all", "--interval=5s", "--name=a*", "--name=b", "--crowd-min=7"]);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_one() {
        let (line, why) = refused("all = true\n\nintervall = \"5s\"\n");
        assert_eq!((line, why.contains("did you mean `interval`?")), (3, true), "{why}");
        assert!(refused("xyzzy = 1\n").1.contains("long options"));
        assert!(refused("pid = 1\n").1.contains("no key `pid`"));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line() {
        let (line, why) = refused("all = true\ninterval = \"5 parsecs\"\n");
        assert_eq!((line, why.contains("length of time")), (2, true), "{why}");
        assert_eq!(refused("all = \"yes\"\n").1, "`all` is true or false");
        assert_eq!(refused("interval = [\"1s\"]\n").1, "`interval` is a text or a number");
        assert_eq!(refused("a = 1\n = 2\n").0, 2);
    }

    #[test]
    fn a_table_says_what_is_different_for_a_name() {
        let text = "[[target]]\nname = \"orders*\"\nbudget = \"off\"\nevents = \"none\"\n";
        let parsed = parse(text).unwrap();
        let other = &parsed.overrides[0];
        assert_eq!((other.budget, other.min_wait, other.interval), (Some(None), None, None));
        assert_eq!(other.events, Some(crate::stream::Mode::None));
        assert!(refused("[[target]]\nname = \"a\"\nbudge = \"1%\"\n").1.contains("`budget`"));
        assert!(refused("[[target]]\nbudget = \"1%\"\n").1.contains("needs a `name`"));
    }

    #[test]
    fn no_prefix_of_a_file_is_more_than_refused() {
        let text = "all = true\nname = [\"a*\"]\n[[target]]\nname = \"b\"\nbudget = \"2%\"\n";
        for end in 0..text.len() {
            let _whatever = parse(&text[..end]);
        }
    }
}
