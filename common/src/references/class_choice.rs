/// A StreamClass that registers a stream's group and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCandidate {
    /// Its name.
    pub name: String,
    /// Whether it is annotated as the default of its kind.
    pub is_default: bool,
    /// When it was created, in a form that sorts by time.
    pub created: String,
}

/// The class of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassChoice<'a> {
    /// This one.
    Class(&'a ClassCandidate),
    /// The stream's label names a class that doesn't exist or registers another kind.
    LabelledMissing(&'a str),
    /// No class registers the kind.
    None,
}

/// Chooses the class of a stream: the labelled one; else the one its Job was made with; else the default
/// of its kind; else the oldest.
///
/// `noted` is the class noted on the stream's Job. It doesn't bind where the label says otherwise.
pub fn choose_class<'a>(
    label: Option<&'a str>,
    noted: Option<&str>,
    candidates: &'a [ClassCandidate],
) -> ClassChoice<'a> {
    let named = |name: &str| candidates.iter().find(|candidate| candidate.name == name);
    if let Some(label) = label.filter(|label| !label.is_empty()) {
        return named(label).map_or(ClassChoice::LabelledMissing(label), ClassChoice::Class);
    }
    let by_age = |candidate: &&ClassCandidate| (candidate.created.clone(), candidate.name.clone());
    noted
        .and_then(named)
        .or_else(|| candidates.iter().filter(|candidate| candidate.is_default).min_by_key(by_age))
        .or_else(|| candidates.iter().min_by_key(by_age))
        .map_or(ClassChoice::None, ClassChoice::Class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, is_default: bool, created: &str) -> ClassCandidate {
        ClassCandidate { name: name.into(), is_default, created: created.into() }
    }

    fn chosen<'a>(label: Option<&'a str>, noted: Option<&str>, candidates: &'a [ClassCandidate]) -> Option<&'a str> {
        match choose_class(label, noted, candidates) {
            ClassChoice::Class(class) => Some(&class.name),
            ClassChoice::LabelledMissing(_) | ClassChoice::None => None,
        }
    }

    #[test]
    fn label_then_note_then_default_then_age() {
        let candidates =
            [candidate("young", false, "3"), candidate("default", true, "2"), candidate("old", false, "1")];
        assert_eq!(chosen(Some("young"), Some("old"), &candidates), Some("young"));
        assert_eq!(chosen(None, Some("young"), &candidates), Some("young"));
        assert_eq!(chosen(None, Some("gone"), &candidates), Some("default"));
        assert_eq!(chosen(None, None, &candidates), Some("default"));
        assert_eq!(chosen(None, None, &candidates[..1]), Some("young"));
        assert_eq!(chosen(None, None, &[candidate("b", false, "1"), candidate("a", false, "1")]), Some("a"));
    }

    #[test]
    fn a_label_that_names_no_class_of_the_kind_is_never_replaced_by_a_guess() {
        let candidates = [candidate("only", true, "1")];
        assert_eq!(choose_class(Some("other"), None, &candidates), ClassChoice::LabelledMissing("other"));
        assert_eq!(choose_class(None, None, &[]), ClassChoice::None);
    }
}
