//! StreamingJobTemplates.

use arcane_common::template::JobTemplate;

use super::{Operation, Request, Verdict, ratchet};

/// Judges a template: one of the three shapes, a Job that Kubernetes takes, nothing set that is ours.
pub fn judge(request: &Request) -> Verdict {
    if request.is_being_deleted() || request.leaves_spec_as_it_is() {
        return Verdict::allow();
    }
    match JobTemplate::judge(request.spec()) {
        Ok(template) => {
            Verdict { warnings: template.warnings.iter().map(ToString::to_string).collect(), ..Verdict::default() }
        }
        Err(violations) => {
            let old = match request.operation {
                Operation::Update => JobTemplate::judge(request.old_spec()).err().unwrap_or_default(),
                _ => Vec::new(),
            };
            let violations = ratchet::only_new(violations, &request.object, &old, &request.old_object);
            Verdict { violations, ..Verdict::default() }
        }
    }
}
