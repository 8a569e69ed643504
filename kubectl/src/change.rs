//! Changes of streams: which are meant, what is written to each, and what is said of it.

use serde_json::Value;

use crate::{
    args::SelectionArgs,
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
    fleet::{Fleet, Stream},
    gather::{self, Wanted},
    writes::{self, NotWritten, Written},
};

/// What is to be written to a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// Nothing, for this reason: a line.
    Nothing(String),
    /// It can't be done, for this reason: a line.
    Impossible(String),
    /// This patch.
    Patch(Value),
}

/// Changes the streams that are meant; `done` is the word for it, `plan` says what it is.
///
/// # Errors
/// When the cluster can't be asked, or a stream that is named isn't there: then nothing is changed.
pub async fn run(
    cluster: &Cluster,
    args: &SelectionArgs,
    done: &str,
    plan: impl Fn(&Stream) -> Planned,
) -> Result<Answer, Ending> {
    let wanted = Wanted { selector: args.selector.clone(), name: None };
    let mut fleet = gather::fleet(cluster, &wanted).await?;
    if let Some(class) = &args.class {
        fleet.only_of_class(class).map_err(Ending::Refused)?;
    }
    let streams = selected(&fleet, &args.streams, &cluster.place())?;
    let mut answer = Answer::default();
    // What was asked for by name has been found; of a selection something may be missing.
    if args.streams.is_empty() {
        answer.notes.extend(fleet.gaps.iter().cloned());
        if !fleet.gaps.is_empty() {
            answer.verdict = Verdict::Unknown;
        } else if streams.is_empty() {
            answer.notes.push(format!("no streams that you asked for {}", cluster.place()));
        }
    }
    for stream in streams {
        change(cluster, stream, (done, args.dry_run), plan(stream), &mut answer).await;
    }
    Ok(answer)
}

/// The streams that are meant.
fn selected<'a>(fleet: &'a Fleet, names: &[String], place: &str) -> Result<Vec<&'a Stream>, Ending> {
    if names.is_empty() {
        return Ok(fleet.streams.iter().collect());
    }
    let refused = if fleet.gaps.is_empty() { Ending::Refused } else { Ending::CannotAsk };
    names.iter().map(|name| fleet.one(name, place).map_err(refused)).collect()
}

/// Changes one stream.
pub async fn change(
    cluster: &Cluster,
    stream: &Stream,
    (done, dry_run): (&str, bool),
    planned: Planned,
    answer: &mut Answer,
) {
    let said = match planned {
        Planned::Nothing(line) => Ok((line, Vec::new())),
        Planned::Impossible(line) => Err((line, Verdict::Bad)),
        Planned::Patch(patch) => {
            let name = (stream.name().namespace.as_str(), stream.name().name.as_str());
            let written = writes::merge(&cluster.client, &stream.resource, name, &patch, dry_run).await;
            told(stream, done, dry_run, written)
        }
    };
    match said {
        Ok((line, notes)) => {
            answer.text.push_str(&format!("{line}\n"));
            answer.notes.extend(notes);
        }
        Err((line, verdict)) => {
            answer.notes.push(format!("error: {line}"));
            answer.verdict = answer.verdict.and(verdict);
        }
    }
}

/// What is said of a write: a line, and what should be known besides; or why it wasn't made.
fn told(
    stream: &Stream,
    done: &str,
    dry_run: bool,
    written: Result<Written, NotWritten>,
) -> Result<(String, Vec<String>), (String, Verdict)> {
    let name = stream.kind_and_name();
    match written {
        Ok(Written { warnings, .. }) => {
            let mut notes: Vec<String> = warnings.into_iter().map(|warning| format!("Warning: {warning}")).collect();
            if let Some(keeper) = stream.kept_by() {
                notes.push(format!("{name}: {keeper} keeps it, and may put the change back; change its source, too"));
            }
            Ok((format!("{name} {done}{}", if dry_run { " (dry run)" } else { "" }), notes))
        }
        Err(NotWritten { refused, words }) => {
            let hint = if words.contains("unknown field") {
                format!(": the kind {} has no such field, so its streams can't be {done}", stream.resource.kind)
            } else {
                String::new()
            };
            let verdict = if refused { Verdict::Bad } else { Verdict::Unknown };
            Err((format!("{name} not {done}: {words}{hint}"), verdict))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::a_fleet;

    #[test]
    fn a_kind_that_cannot_be_suspended_says_so() {
        let words = "strict decoding error: unknown field \"spec.suspended\"".to_owned();
        let (line, verdict) =
            told(&a_fleet().streams[0], "suspended", false, Err(NotWritten { refused: true, words })).unwrap_err();
        assert!(line.ends_with("has no such field, so its streams can't be suspended"), "{line}");
        assert_eq!(verdict, Verdict::Bad);
    }

    #[test]
    fn who_puts_it_back_is_told() {
        let mut stream = a_fleet().streams.remove(0);
        let written = || Ok(Written { object: Value::Null, warnings: vec!["w".to_owned()] });
        let said = told(&stream, "suspended", true, written()).unwrap();
        assert_eq!(said, ("sqlserverstream/backfills suspended (dry run)".to_owned(), vec!["Warning: w".to_owned()]));
        stream.labels.insert("kustomize.toolkit.fluxcd.io/name".to_owned(), "apps".to_owned());
        let (_, notes) = told(&stream, "suspended", false, written()).unwrap();
        assert!(notes[1].contains("Flux's Kustomization apps keeps it"), "{notes:?}");
    }

    #[test]
    fn a_name_that_may_mean_two_is_asked_about() {
        let mut fleet = a_fleet();
        let mut twin = fleet.streams[0].clone();
        twin.resource.kind = "OtherStream".to_owned();
        twin.resource.plural = "otherstreams".to_owned();
        fleet.streams.push(twin);
        let name = |text: &str| selected(&fleet, &[text.to_owned()], "in namespace data").map(|found| found.len());
        let Err(Ending::Refused(words)) = name("backfills") else { panic!("one was chosen") };
        assert_eq!(
            words,
            "backfills may be any of: sqlserverstream/backfills -n data, otherstream/backfills -n data; say which"
        );
        for meant in ["OtherStream/backfills", "otherstreams/backfills"] {
            assert_eq!(name(meant), Ok(1), "{meant}");
        }
        assert!(matches!(name("nowhere"), Err(Ending::Refused(_))));
        assert_eq!(selected(&fleet, &[], "").map(|all| all.len()), Ok(6));
    }
}
