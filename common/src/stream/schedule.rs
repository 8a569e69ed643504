//! Whether Kubernetes takes a schedule for a CronJob.
//!
//! An own check: the crates that parse cron know more than Kubernetes does (`L`, `W`, a sixth field, `7` for
//! Sunday, ranges around the end), and what they take beyond it the API server would refuse, long after the
//! stream was let in. These are the rules of `robfig/cron`'s standard parser and of the API server's own check.

/// Checks a schedule: five fields, or a macro such as `@daily`.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.contains("TZ") {
        return Err("must not name a time zone: schedules are in the time zone of the cluster's controllers".to_owned());
    }
    if let Some(name) = schedule.strip_prefix('@') {
        return check_macro(name);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "must have the five fields minute, hour, day of month, month and day of week, e.g. \"0 * * * *\" for \
             every hour; it has {}",
            fields.len()
        ));
    }
    for (field, text) in FIELDS.iter().zip(fields) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            field.check(part)?;
        }
    }
    Ok(())
}

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, words: &[] },
    Field { name: "hour", least: 0, most: 23, words: &[] },
    Field { name: "day of month", least: 1, most: 31, words: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of week", least: 0, most: 6, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Field {
    /// `*`, `?`, `a`, `a-b`, each with an optional `/step`.
    fn check(&self, part: &str) -> Result<(), String> {
        let name = self.name;
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        if let Some(step) = step
            && step.parse::<u32>().ok().is_none_or(|step| step == 0)
        {
            return Err(format!("{name} {part:?}: the step after \"/\" must be a number from 1 on"));
        }
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (from, Some(to)),
            None => (range, None),
        };
        let first = if matches!(from, "*" | "?") { self.least } else { self.number(part, from)? };
        let last = to.map_or(Ok(first), |to| self.number(part, to))?;
        if first > last {
            return Err(format!("{name} {part:?}: the range must not end before it begins"));
        }
        Ok(())
    }

    fn number(&self, part: &str, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        let word = self.words.iter().zip(self.least..).find(|(word, _)| **word == lower);
        let number = word.map(|(_, number)| number).or_else(|| text.parse::<u32>().ok());
        number.filter(|number| (self.least..=self.most).contains(number)).ok_or_else(|| {
            let words = match (self.words.first(), self.words.last()) {
                (Some(first), Some(last)) => format!(" or from {first} to {last}"),
                _ => String::new(),
            };
            let Self { name, least, most, .. } = self;
            format!("{name} {part:?}: must be from {least} to {most}{words}, *, a range, a list or a step such as */5")
        })
    }
}

fn check_macro(name: &str) -> Result<(), String> {
    if ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&name) {
        return Ok(());
    }
    match name.strip_prefix("every ") {
        Some(duration) if is_duration_of_go(duration) => Ok(()),
        Some(_) => Err("must name a duration after @every, e.g. \"@every 1h30m\"".to_owned()),
        None => Err("is no macro that Kubernetes knows: @yearly, @annually, @monthly, @weekly, @daily, @midnight, \
                     @hourly or @every <duration>"
            .to_owned()),
    }
}

/// What Go's `time.ParseDuration` takes, but for its overflows.
fn is_duration_of_go(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = rest.strip_suffix(unit).unwrap_or_default();
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let (unit, next) = unit.split_at(end);
        if !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) {
            return false;
        }
        rest = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::check;

    #[rstest]
    fn kubernetes_takes(
        #[values(
            "* * * * *",
            "*/5 * * * *",
            "0 0 1 1 0",
            "0 9-17 * * mon-fri",
            "0 0 ? JAN,jul Sun",
            "5/15 * * * *",
            " 0  0 * * 6 ",
            "1,,2 * * * *",
            "@daily",
            "@every 1h30m",
            "@every 1.5h",
            "@every 0"
        )]
        schedule: &str,
    ) {
        assert_eq!(check(schedule), Ok(()));
    }

    #[rstest]
    fn kubernetes_refuses(
        #[values(
            "",
            "hourly",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "* * L * *",
            "5-1 * * * *",
            "1-2-3 * * * *",
            "*/0 * * * *",
            "*/5/5 * * * *",
            "-1 * * * *",
            "a * * * *",
            "@reboot",
            "@Daily",
            "@every",
            "@every soon",
            "@every 5",
            "TZ=UTC 0 * * * *",
            "CRON_TZ=UTC 0 * * * *"
        )]
        schedule: &str,
    ) {
        assert!(check(schedule).is_err(), "{schedule}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            check("0 25 * * *").unwrap_err(),
            "hour \"25\": must be from 0 to 23, *, a range, a list or a step such as */5"
        );
    }
}
