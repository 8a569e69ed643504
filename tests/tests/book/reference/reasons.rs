//! The reasons of conditions and events.

use arcane_common::{api::BackfillRequestPhase, api::StreamClassPhase, stream::Phase};
use arcane_controller::reasons::{ALL, Of, Told};

use crate::tables::{code, table};

pub fn page() -> String {
    let mut page = "# Conditions, reasons, events\n\n\
        The conditions `Ready`, `Reconciling` and `Stalled` are those of kstatus: once the controller has seen an object one of them is \
        `True`, and all have the same reason and message. The message names the field and the fix. Where a plugin's kind has no room for a reason, the message \
        begins with it.\n\n\
        Events have the same reasons: of a stream whenever its `Ready` gets another reason or message, but where its Job is what there \
        is to say; of a class and of a request without a stream whenever the reason changes; of a template that isn't valid. None is \
        repeated for the same state.\n"
        .to_owned();
    for (of, title, phases) in [
        (Of::Stream, "A stream", Phase::ALL.iter().map(|phase| phase.as_str()).collect::<Vec<_>>()),
        (Of::BackfillRequest, "A BackfillRequest", BackfillRequestPhase::WORDS.to_vec()),
        (Of::StreamClass, "A StreamClass", StreamClassPhase::WORDS.to_vec()),
        (Of::StreamingJobTemplate, "A StreamingJobTemplate", Vec::new()),
    ] {
        page += &format!("\n## {title}\n\n");
        if !phases.is_empty() {
            let phases: Vec<String> = phases.into_iter().map(code).collect();
            page += &format!("Phases: {}.\n\n", phases.join(", "));
        }
        page += match of {
            Of::Stream => "`UpToDate` and `LastRunSucceeded` are there only while they are `False`.\n\n",
            Of::BackfillRequest => "",
            Of::StreamClass => "`UpToDate` is there only while it is `False`.\n\n",
            Of::StreamingJobTemplate => "`Ready` says the same as `Valid`, and `Stalled` the opposite.\n\n",
        };
        let mut reasons: Vec<_> = ALL.iter().filter(|reason| reason.of == of).collect();
        reasons.sort_by_key(|reason| order(reason.told));
        let rows = reasons
            .into_iter()
            .map(|reason| [code(reason.word), told(reason.told), reason.means.to_owned(), reason.remedy.to_owned()]);
        page += &table(["reason", "told by", "it means", "what to do"], rows);
    }
    page
}

fn told(told: Told) -> String {
    match told {
        Told::Event => told.as_str().to_owned(),
        _ => code(told.as_str()),
    }
}

/// What somebody has to do something about comes first.
fn order(told: Told) -> u8 {
    match told {
        Told::Stalled | Told::NotValid => 0,
        Told::Reconciling => 1,
        Told::NotUpToDate => 2,
        Told::LastRunFailed => 3,
        Told::Unknown => 4,
        Told::Ready | Told::Valid => 5,
        Told::Event => 6,
    }
}
