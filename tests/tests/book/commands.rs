//! The commands that the chapters show name what exists: kinds, files, values of the chart, targets of the Makefile, and commands of
//! the kubectl plugin.

use std::collections::BTreeSet;

use arcane_common::api::crds;
use arcane_tests::fixture::{repository, repository_file};
use clap::{CommandFactory as _, Parser as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use serde_json::Value;

use crate::{files, markdown::Page};

/// A command, and where it stands.
struct Shown {
    page: String,
    line: usize,
    words: Vec<String>,
}

/// Lines that can be copied, those that were typed for what is shown, and those in the text.
fn shown() -> Vec<Shown> {
    let mut shown = Vec::new();
    for page in files("docs", ".md").into_iter().chain(["README.md".to_owned()]) {
        let text = repository_file(&page);
        let mut add = |line, words| shown.push(Shown { page: page.clone(), line, words });
        for block in Page::read(&text).blocks {
            let joined = joined(&block.text);
            let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let typed: Vec<&str> = match block.language.as_str() {
                "sh" => lines.collect(),
                "console" => lines.filter_map(|line| line.strip_prefix("$ ")).collect(),
                _ => Vec::new(),
            };
            for words in typed.into_iter().flat_map(commands) {
                add(block.line, words);
            }
        }
        for (index, line) in joined(&text).lines().enumerate() {
            let is_indented = |line: &&str| line.starts_with("    ") && is_one_of_ours(line.trim());
            let spans = line.split('`').skip(1).step_by(2).filter(|span| is_one_of_ours(span));
            for words in spans.chain(Some(line).filter(is_indented)).flat_map(|it| commands(&it.replace("\\|", "|"))) {
                add(index + 1, words);
            }
        }
    }
    assert!(shown.len() > 200, "{} commands", shown.len());
    shown
}

/// Lines that go on are one, and as many empty ones.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    let mut owed = 0;
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(begun) => {
                joined += begun;
                owed += 1;
            }
            None => {
                joined += line;
                joined.push_str(&"\n".repeat(owed + 1));
                owed = 0;
            }
        }
    }
    joined
}

fn is_one_of_ours(text: &str) -> bool {
    ["kubectl ", "helm ", "make ", "docker "].iter().any(|program| text.starts_with(program))
}

/// The commands of a line of a shell, as words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.push(letter),
            (None, '\'' | '"') => (quote, begun) = (Some(letter), true),
            (None, '#') if !begun => break,
            // Where it goes doesn't matter.
            (None, '>') => break,
            (None, ' ' | '|' | '&' | ';') => {
                if begun {
                    commands.last_mut().unwrap().push(std::mem::take(&mut word));
                    begun = false;
                }
                if letter != ' ' && !commands.last().unwrap().is_empty() {
                    commands.push(Vec::new());
                }
            }
            (None, _) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    assert!(quote.is_none(), "a quote has no end: {line}");
    if begun {
        commands.last_mut().unwrap().push(word);
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// A word that stands for what a reader knows.
fn is_placeholder(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '-')
}

#[test]
fn each_command_of_a_page_names_what_exists() {
    let kinds = kinds();
    let mut wrong = Vec::new();
    for Shown { page, line, words } in shown() {
        let (program, rest) = words.split_first().unwrap();
        let checked = match &**program {
            "kubectl" if rest.first().is_some_and(|verb| verb == "arcane") => our_plugin(rest),
            "kubectl" => kubectl(rest, &kinds),
            "helm" => helm(rest),
            "make" => make(rest),
            "docker" => there_are(rest, &["-f"]),
            "kind" | "cargo" | "sudo" | "grep" | "head" => Ok(()),
            other => Err(format!("what is {other:?}?")),
        };
        if let Err(error) = checked {
            wrong.push(format!("{page}:{line}: {}: {error}", words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn our_plugin(words: &[String]) -> Result<(), String> {
    // A command that is only named.
    if let [_, name] = words
        && !name.starts_with('-')
    {
        let command = kubectl_arcane::args::Args::command();
        return command.find_subcommand(name).map(|_| ()).ok_or_else(|| format!("no command {name}"));
    }
    if words.len() == 1 {
        return Ok(());
    }
    match kubectl_arcane::args::Args::try_parse_from(words) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// The names of what kubectl can be asked for: Kubernetes' own that we speak of, ours, and those of the plugins that are shown.
fn kinds() -> BTreeSet<String> {
    let own = [
        "all",
        "certificate",
        "clusterrole",
        "configmap",
        "crd",
        "cronjobs",
        "deployment",
        "deployments",
        "events",
        "job",
        "jobs",
        "lease",
        "leases",
        "mutatingwebhookconfiguration",
        "namespace",
        "namespaces",
        "node",
        "nodes",
        "pod",
        "pods",
        "poddisruptionbudget",
        "secret",
        "secrets",
        "validatingwebhookconfiguration",
    ];
    let mut kinds: BTreeSet<String> = own.map(ToOwned::to_owned).into();
    let sample: CustomResourceDefinition =
        serde_saphyr::from_str(&repository_file("examples/sample-plugin/crd.yaml")).unwrap();
    let plugins = Page::read(&repository_file("docs/plugins.md")).blocks.into_iter();
    let shown = plugins.filter(|block| block.language == "yaml").flat_map(|block| {
        serde_saphyr::from_multiple::<Value>(&block.text).unwrap_or_else(|error| panic!("{error}: {}", block.text))
    });
    let shown = shown.filter_map(|document| serde_json::from_value::<CustomResourceDefinition>(document).ok());
    for crd in crds().into_iter().chain([sample]).chain(shown) {
        let CustomResourceDefinitionNames { plural, singular, short_names, categories, kind, .. } = crd.spec.names;
        kinds.extend([plural.clone(), kind.to_lowercase(), format!("{plural}.{}", crd.spec.group)]);
        kinds.extend(
            singular.into_iter().chain(short_names.into_iter().flatten()).chain(categories.into_iter().flatten()),
        );
    }
    kinds
}

/// Flags of kubectl and helm whose value is the next word.
const WITH_VALUE: [&str; 22] = [
    "-n",
    "--namespace",
    "-l",
    "--selector",
    "-o",
    "--output",
    "-p",
    "--patch",
    "--type",
    "-f",
    "--filename",
    "--for",
    "--timeout",
    "--field-selector",
    "--sort-by",
    "--tail",
    "--set",
    "--values",
    "--version",
    "--filter",
    "--field-manager",
    "-c",
];

/// The words that are no flags and no values of flags.
fn positions(words: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with('-') {
            found.push(word.as_str());
        }
    }
    found
}

/// The values of a flag.
fn values<'a>(words: &'a [String], flags: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for pair in words.windows(2) {
        if flags.contains(&pair[0].as_str()) {
            found.push(pair[1].as_str());
        }
    }
    let joined = words.iter().filter_map(|word| word.split_once('=').filter(|(flag, _)| flags.contains(flag)));
    found.extend(joined.map(|(_, value)| value));
    found
}

fn there_are(words: &[String], flags: &[&str]) -> Result<(), String> {
    let named = values(words, flags).into_iter().filter(|file| *file != "-" && !is_placeholder(file));
    let missing: Vec<_> =
        named.filter(|file| !file.ends_with("backup.yaml") && !repository().join(file).exists()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("there is no {}", missing.join(", "))) }
}

fn kubectl(words: &[String], kinds: &BTreeSet<String>) -> Result<(), String> {
    there_are(words, &["-f", "--filename"])?;
    for patch in values(words, &["-p", "--patch"]) {
        serde_json::from_str::<Value>(patch).map_err(|error| format!("the patch: {error}"))?;
    }
    let positions = positions(words);
    let asked_for: Vec<&str> = match positions[..] {
        // A command that is only named.
        ["get" | "describe" | "explain"] if words.len() == 1 => Vec::new(),
        ["get" | "describe" | "delete" | "patch" | "annotate" | "label" | "wait" | "explain" | "scale", what, ..]
        | ["rollout", _, what, ..] => vec![what],
        ["get" | "describe" | "delete", ..] if !values(words, &["-f", "-l"]).is_empty() => Vec::new(),
        ["logs", what, ..] if what.contains('/') => vec![what],
        ["events", ..] => values(words, &["--for"]),
        ["create", "namespace" | "secret", ..] | ["apply" | "drain" | "logs", ..] => Vec::new(),
        _ => return Err("an unknown command of kubectl".to_owned()),
    };
    for name in asked_for.iter().flat_map(|what| what.split(',')) {
        let name = name.split('/').next().unwrap_or_default();
        // Fields, where they are explained.
        let name = if positions[0] == "explain" { name.split('.').next().unwrap_or_default() } else { name };
        if !is_placeholder(name) && name != "..." && !kinds.contains(name) {
            return Err(format!("what is {name:?}?"));
        }
    }
    Ok(())
}

fn helm(words: &[String]) -> Result<(), String> {
    let chart: Value = serde_saphyr::from_str(&repository_file("charts/arcane-operator/values.yaml")).unwrap();
    for set in values(words, &["--set"]).into_iter().flat_map(|sets| sets.split(',')) {
        let (path, _) = set.split_once('=').ok_or_else(|| format!("{set} sets nothing"))?;
        let pointer = format!("/{}", path.replace('.', "/"));
        if chart.pointer(&pointer).is_none() {
            return Err(format!("the chart has no value {path}"));
        }
    }
    let charts = positions(words).into_iter().filter(|word| word.starts_with("charts/"));
    let missing: Vec<_> = charts.filter(|chart| !repository().join(chart).exists()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("there is no {missing:?}")) }
}

fn make(words: &[String]) -> Result<(), String> {
    let makefile = repository_file("Makefile");
    for target in words.iter().filter(|word| !word.contains('=')) {
        if !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
            return Err(format!("the Makefile has no target {target}"));
        }
    }
    Ok(())
}

#[test]
fn a_line_is_read_as_a_shell_does() {
    let words = commands("kubectl patch x -p '{\"a\": 1}' | grep b && helm list  # why");
    let expected: [&[&str]; 3] = [&["kubectl", "patch", "x", "-p", "{\"a\": 1}"], &["grep", "b"], &["helm", "list"]];
    assert_eq!(words, expected);
}

#[test]
fn what_does_not_exist_is_found() {
    let kinds = kinds();
    let of = |line: &str| commands(line).remove(0);
    let kubectl = |line| kubectl(&of(line), &kinds);
    for right in [
        "get sjt,jobs -n x",
        "describe streamclass NAME",
        "explain streamclass.spec",
        "apply -f examples/guide",
        "get KIND NAME",
    ] {
        assert_eq!(kubectl(right), Ok(()), "{right}");
    }
    for wrong in ["get strems", "apply -f examples/nothing.yaml", "patch sjt x -p '{a: 1}'", "frobnicate x"] {
        assert!(kubectl(wrong).is_err(), "{wrong}");
    }
    assert!(helm(&of("install a charts/arcane-operator --set image.repo=x")).is_err());
    assert!(make(&of("nothing")).is_err() && make(&of("demo")).is_ok());
    assert!(our_plugin(&of("arcane statsu")).is_err() && our_plugin(&of("arcane status -A")).is_ok());
}
