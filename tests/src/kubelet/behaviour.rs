//! What a simulated pod does, and the words for it.

use std::str::FromStr;
use std::time::Duration;

/// The annotation of a pod (or of a Job's pod template) that says what the pod does: see [`PodBehaviour::from_str`].
pub const BEHAVIOUR_ANNOTATION: &str = "simulated-kubelet/behaviour";

/// What a pod does. A part that is absent is left to the next who has a say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodBehaviour {
    /// Whether its containers start.
    pub start: Option<PodStart>,
    /// Whether and how they end by themselves.
    pub end: Option<PodEnd>,
    /// How long they take to end when the pod is deleted.
    pub terminate_after: Option<Duration>,
    /// Whether they end with exit code 0 then, as programs do that take SIGTERM for a wish; else with 143.
    pub ends_politely: Option<bool>,
}

/// Whether the containers of a pod start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStart {
    /// They do.
    Run,
    /// They don't: the pod stays Pending, its containers wait with the reason ImagePullBackOff.
    ImagePullBackOff,
}

/// How the containers of a pod end by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodEnd {
    /// They run for ever.
    Never,
    /// The pod succeeds.
    Succeed {
        /// So long after its start.
        after: Duration,
    },
    /// The pod fails, whatever its restartPolicy says.
    Fail {
        /// The exit code of its containers.
        exit_code: i32,
        /// So long after its start.
        after: Duration,
        /// The termination message of its containers.
        message: Option<String>,
    },
}

impl PodBehaviour {
    /// Runs for ever.
    pub fn runs() -> Self {
        Self::starts(PodEnd::Never)
    }

    /// Runs, then succeeds.
    pub fn succeeds_after(after: Duration) -> Self {
        Self::starts(PodEnd::Succeed { after })
    }

    /// Runs, then fails with an exit code.
    pub fn exits(exit_code: i32, after: Duration) -> Self {
        Self::starts(PodEnd::Fail { exit_code, after, message: None })
    }

    /// The same with a termination message.
    pub fn exits_with_message(exit_code: i32, after: Duration, message: &str) -> Self {
        Self::starts(PodEnd::Fail { exit_code, after, message: Some(message.to_owned()) })
    }

    /// Stays Pending, because its image cannot be pulled.
    pub fn image_pull_back_off() -> Self {
        Self { start: Some(PodStart::ImagePullBackOff), ..Self::default() }
    }

    /// Takes so long to end when it is deleted. Says nothing else.
    pub fn terminates_after(after: Duration) -> Self {
        Self { terminate_after: Some(after), ..Self::default() }
    }

    /// Ends with exit code 0 when it is deleted. Says nothing else.
    pub fn ends_politely() -> Self {
        Self { ends_politely: Some(true), ..Self::default() }
    }

    /// Both; where both say something, `self` counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.or(other)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            start: self.start.or(other.start),
            end: self.end.or(other.end),
            terminate_after: self.terminate_after.or(other.terminate_after),
            ends_politely: self.ends_politely.or(other.ends_politely),
        }
    }

    fn starts(end: PodEnd) -> Self {
        Self { start: Some(PodStart::Run), end: Some(end), ..Self::default() }
    }
}

/// Words that say no behaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{words:?} is no behaviour of a pod: say `run`, `succeed-after 2s`, `exit 3 after 1s`, `image-pull-back-off`, \
     `terminate-after 10s`, `end-politely`, or several of them with commas between (durations: 300ms, 2s, 1m)"
)]
pub struct BehaviourError {
    /// The words.
    pub words: String,
}

impl FromStr for PodBehaviour {
    type Err = BehaviourError;

    /// ```text
    /// behaviour = part { "," part }
    /// part      = "run" | "succeed-after" DURATION | "exit" CODE [ "after" DURATION ] | "image-pull-back-off"
    ///           | "terminate-after" DURATION | "end-politely"
    /// DURATION  = NUMBER ( "ms" | "s" | "m" )
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').try_fold(Self::default(), |all, part| {
            let part = part.trim();
            let parsed = parse_part(part).ok_or_else(|| BehaviourError { words: part.to_owned() })?;
            Ok(all.or(parsed))
        })
    }
}

fn parse_part(part: &str) -> Option<PodBehaviour> {
    let words: Vec<&str> = part.split_whitespace().collect();
    Some(match words[..] {
        ["run"] => PodBehaviour::runs(),
        ["succeed-after", after] => PodBehaviour::succeeds_after(duration(after)?),
        ["exit", code] => PodBehaviour::exits(code.parse().ok()?, Duration::ZERO),
        ["exit", code, "after", after] => PodBehaviour::exits(code.parse().ok()?, duration(after)?),
        ["image-pull-back-off"] => PodBehaviour::image_pull_back_off(),
        ["terminate-after", after] => PodBehaviour::terminates_after(duration(after)?),
        ["end-politely"] => PodBehaviour::ends_politely(),
        _ => return None,
    })
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    Some(
        number
            * match unit {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                _ => return None,
            },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_word_is_understood() {
        let said = |text: &str| text.parse::<PodBehaviour>().unwrap();
        assert_eq!(said("run"), PodBehaviour::runs());
        assert_eq!(said("succeed-after 2s"), PodBehaviour::succeeds_after(2 * SECOND));
        assert_eq!(said("exit 3 after 1s"), PodBehaviour::exits(3, SECOND));
        assert_eq!(said("exit 3"), PodBehaviour::exits(3, Duration::ZERO));
        assert_eq!(said("image-pull-back-off"), PodBehaviour::image_pull_back_off());
        assert_eq!(said("run, end-politely"), PodBehaviour::runs().and(PodBehaviour::ends_politely()));
        assert_eq!(
            said("exit 3 after 300ms, terminate-after 1m"),
            PodBehaviour::exits(3, Duration::from_millis(300)).and(PodBehaviour::terminates_after(60 * SECOND))
        );
    }

    #[test]
    fn other_words_are_refused_with_what_can_be_said() {
        for words in ["", "walk", "exit three", "succeed-after 2", "succeed-after 2h", "terminate-after ms"] {
            let error = words.parse::<PodBehaviour>().unwrap_err();
            assert!(error.to_string().contains("succeed-after 2s"), "{error}");
        }
    }
}
