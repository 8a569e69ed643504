//! The users guide's layout: everything directly below `spec`.

use super::layout::{Fields, Reader, StreamDefinition, Workload};

pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<StreamDefinition> {
    reader.suspended(spec);
    let template = reader.required_template(spec, "jobTemplateRef");
    let backfill_template = reader.template(spec, "backfillJobTemplateRef");
    Some(StreamDefinition { workload: Workload::ChangeCapture { template: template? }, backfill_template })
}
