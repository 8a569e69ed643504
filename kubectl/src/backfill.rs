//! `kubectl arcane backfill`: asks for a backfill, and waits for its end if that is wanted.

mod wait;

use std::io::Read as _;

use arcane_common::{
    api::{BackfillRequest, BackfillRequestSpec},
    identity::{MAX_STREAM_NAME, shortened},
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::Value;

use crate::{
    args::BackfillArgs,
    cluster::Cluster,
    ending::{Answer, Ending, note_now, print},
    fleet::Stream,
    gather,
    writes::{self, NotWritten},
};

/// Creates a BackfillRequest.
///
/// # Errors
/// When there is no such stream; when the payload is no object; when the API server refuses the request.
pub async fn run(cluster: &Cluster, args: &BackfillArgs) -> Result<Answer, Ending> {
    let payload = args.payload.as_deref().map(payload).transpose()?;
    let (fleet, stream) = gather::one_stream(cluster, &args.stream).await?;
    let request = request(&stream, payload, args.name.as_deref(), Timestamp::now()).map_err(Ending::Refused)?;
    let written = writes::create(&cluster.client, &request, args.dry_run).await.map_err(not_written)?;
    for warning in &written.warnings {
        note_now(&format!("Warning: {warning}"));
    }
    let name = request.name_any();
    let how = if args.dry_run { " (dry run)" } else { "" };
    let line = format!("backfillrequest/{name} created{how}: a backfill of {}", stream.kind_and_name());
    if !args.wait {
        let mut answer = Answer::of(line);
        // Where no webhook answers nobody else says it.
        if stream.facts.suspended && written.warnings.is_empty() {
            answer
                .notes
                .push(format!("stream {} is suspended: the backfill starts when it is resumed", stream.name().name));
        }
        return Ok(answer.noting(fleet.gaps));
    }
    let _ = print(&line);
    wait::run(cluster, &stream, &name, args.timeout).await
}

fn not_written(error: NotWritten) -> Ending {
    let NotWritten { refused, words } = error;
    if refused { Ending::Refused(words) } else { Ending::CannotAsk(words) }
}

/// The request that asks for a backfill of a stream.
///
/// # Errors
/// When the stream has no class, in words.
fn request(
    stream: &Stream,
    payload: Option<Value>,
    name: Option<&str>,
    now: Timestamp,
) -> Result<BackfillRequest, String> {
    let Some(class) = stream.class.clone() else {
        return Err(match &stream.facts.class_label {
            Some(label) => format!("{} names the StreamClass {label}, which isn't there", stream.kind_and_name()),
            None => format!("no StreamClass registers {}", stream.facts.key.kind),
        });
    };
    let name = name.map_or_else(|| default_name(&stream.name().name, now), ToOwned::to_owned);
    let spec =
        BackfillRequestSpec { stream_class: class, stream_id: stream.name().name.clone(), completed: false, payload };
    let mut request = BackfillRequest::new(&name, spec);
    request.metadata.namespace = Some(stream.name().namespace.clone());
    Ok(request)
}

/// Unlike any other's, and says when. Not longer than a label value: it is the id that reaches programs.
fn default_name(stream: &str, now: Timestamp) -> String {
    shortened(stream, &now.strftime("-%Y%m%d-%H%M%S").to_string(), MAX_STREAM_NAME)
}

fn payload(text: &str) -> Result<Value, Ending> {
    let unreadable = |error: std::io::Error| Ending::Usage(format!("the payload can't be read: {text}: {error}"));
    let json = if text == "-" {
        let mut json = String::new();
        std::io::stdin().read_to_string(&mut json).map_err(unreadable)?;
        json
    } else if let Some(file) = text.strip_prefix('@') {
        std::fs::read_to_string(file).map_err(unreadable)?
    } else {
        text.to_owned()
    };
    match serde_json::from_str(&json) {
        Ok(payload @ Value::Object(_)) => Ok(payload),
        // What is in it may be secret.
        Ok(_) => Err(Ending::Usage("the payload must be a JSON object, e.g. {\"from\": \"2026-01-01\"}".to_owned())),
        Err(error) => Err(Ending::Usage(format!("the payload is no JSON: {error}; a file is given as @FILE"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    #[test]
    fn a_request_names_stream_and_class() {
        let stream = a_fleet().streams.remove(0);
        let made = request(&stream, Some(json!({"from": 1})), None, at("11:22:33")).unwrap();
        assert_eq!(
            serde_json::to_value(&made).unwrap(),
            json!({
                "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
                "metadata": {"name": "backfills-20260102-112233", "namespace": "data"},
                "spec": {"streamClass": "sql-server", "streamId": "backfills", "completed": false, "payload": {"from": 1}},
            })
        );
        let named = request(&stream, None, Some("mine"), at("11:22:33")).unwrap();
        assert_eq!((named.name_any().as_str(), named.spec.payload), ("mine", None));
    }

    #[test]
    fn a_long_name_leaves_room_for_the_time() {
        let name = default_name(&"a".repeat(63), at("11:22:33"));
        assert!(name.len() == 63 && name.ends_with("-20260102-112233"), "{name}");
    }

    #[test]
    fn a_stream_without_a_class_cannot_be_backfilled() {
        let mut stream = a_fleet().streams.remove(0);
        stream.class = None;
        assert_eq!(
            request(&stream, None, None, at("11:22:33")).unwrap_err(),
            "no StreamClass registers SqlServerStream.streaming.sneaksanddata.com"
        );
        stream.facts.class_label = Some("gone".to_owned());
        assert!(request(&stream, None, None, at("11:22:33")).unwrap_err().contains("StreamClass gone"));
    }

    #[test]
    fn a_payload_is_an_object() {
        assert_eq!(payload(r#"{"a": 1}"#), Ok(json!({"a": 1})));
        for wrong in ["1", "[]", "{", "@/nowhere"] {
            assert!(matches!(payload(wrong), Err(Ending::Usage(_))), "{wrong}");
        }
    }
}
