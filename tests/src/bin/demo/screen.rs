//! What the person sees: headings, commands, their output, and what was checked.

use std::cell::Cell;
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::text::{command_lines, seconds, with_time, wrapped};

/// Nothing is wider than this, so that it looks well in a README, too.
const WIDTH: usize = 96;
/// Output of commands stands this far to the right.
const INDENT: usize = 5;
/// How wide the output of a command may be.
pub const OUTPUT_WIDTH: usize = WIDTH - INDENT;

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Where the demo is shown.
pub struct Screen {
    colours: bool,
    /// Whether somebody watches: then there is a spinner, and times have tenths.
    live: bool,
    seen: Cell<usize>,
}

#[derive(Clone, Copy)]
enum Colour {
    Bold,
    Cyan,
    Green,
    Grey,
    Red,
}

/// What was expected and did not come.
#[derive(Debug, thiserror::Error)]
#[error("expected: {expected}\nseen:     {seen}")]
pub struct Unseen {
    /// What should have been seen.
    pub expected: String,
    /// What was seen in its place.
    pub seen: String,
}

impl Screen {
    /// As stdout and the environment want it.
    pub fn of_stdout() -> Self {
        let set = |variable| std::env::var(variable).is_ok_and(|value| !value.is_empty());
        let live = std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
        Self::new(live, set("NO_COLOR"))
    }

    fn new(live: bool, no_color: bool) -> Self {
        Self { colours: live && !no_color, live, seen: Cell::new(0) }
    }

    /// How many checks have been ticked off.
    pub fn seen(&self) -> usize {
        self.seen.get()
    }

    /// How long something took, in words.
    pub fn time(&self, took: Duration) -> String {
        seconds(took, self.live)
    }

    /// What comes next.
    pub fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.painted(Colour::Bold, text)));
    }

    /// A sentence that goes with the heading.
    pub fn note(&self, text: &str) {
        for line in wrapped(text, WIDTH) {
            self.line(&self.painted(Colour::Grey, &line));
        }
    }

    /// A sentence between the commands of a step.
    pub fn aside(&self, text: &str) {
        for line in wrapped(text, OUTPUT_WIDTH) {
            self.line(&format!("   {}", self.painted(Colour::Grey, &line)));
        }
    }

    /// Something that stands alone.
    pub fn plain(&self, text: &str) {
        self.line(text);
    }

    /// Something to type, and what it is for ("": it goes with the one before).
    pub fn suggestion(&self, what_for: &str, command: &str) {
        if !what_for.is_empty() {
            self.line(&self.painted(Colour::Grey, &format!("  # {what_for}")));
        }
        for line in command_lines(command, WIDTH - 2) {
            self.line(&format!("  {}", self.painted(Colour::Cyan, &line)));
        }
    }

    /// A command that is about to run.
    pub fn command(&self, command: &str) {
        for (at, line) in command_lines(command, OUTPUT_WIDTH).iter().enumerate() {
            let prompt = if at == 0 { "$" } else { " " };
            self.line(&format!("   {} {}", self.painted(Colour::Grey, prompt), self.painted(Colour::Cyan, line)));
        }
    }

    /// What a command printed.
    pub fn output(&self, lines: &[String]) {
        for line in lines {
            self.line(&format!("{}{line}", " ".repeat(INDENT)));
        }
    }

    /// Waits for something, and ticks it off or crosses it out.
    pub async fn check<T, E>(&self, label: &str, happens: impl Future<Output = Result<T, E>>) -> Result<T, Unseen>
    where
        E: std::fmt::Display,
    {
        let started = Instant::now();
        let happened = self.waited_for(label, started, happens).await;
        let mark = match &happened {
            Ok(_) => self.painted(Colour::Green, "✓"),
            Err(_) => self.painted(Colour::Red, "✗"),
        };
        let (label, time) = with_time(label, &self.time(started.elapsed()), OUTPUT_WIDTH);
        self.line(&format!("   {mark} {label}{}", self.painted(Colour::Grey, &time)));
        match happened {
            Ok(value) => {
                self.seen.set(self.seen.get() + 1);
                Ok(value)
            }
            Err(error) => Err(Unseen { expected: label, seen: error.to_string() }),
        }
    }

    async fn waited_for<T>(&self, label: &str, started: Instant, happens: impl Future<Output = T>) -> T {
        tokio::pin!(happens);
        if !self.live {
            return happens.await;
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(80));
        let short: String = label.chars().take(65).collect();
        let mut frames = SPINNER.iter().cycle();
        let ended = loop {
            tokio::select! {
                ended = &mut happens => break ended,
                _ = ticks.tick() => {
                    let frame = frames.next().unwrap_or(&' ');
                    let time = self.painted(Colour::Grey, &self.time(started.elapsed()));
                    print(&format!("\r\x1b[2K   {frame} {short}  {time}"));
                }
            }
        };
        print("\r\x1b[2K");
        ended
    }

    /// Ends a line that a spinner, and a Ctrl-C after it, may have left.
    pub fn interrupted(&self) {
        if self.live {
            print("\r\x1b[2K");
        }
    }

    fn painted(&self, colour: Colour, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Bold => "1",
            Colour::Cyan => "36",
            Colour::Green => "32",
            Colour::Grey => "90",
            Colour::Red => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn line(&self, text: &str) {
        print(&format!("{text}\n"));
    }
}

/// A reader who has gone is no reason to end before everything is cleaned up.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_without_no_color_gets_colours() {
        for (live, no_color, coloured) in
            [(true, false, true), (true, true, false), (false, false, false), (false, true, false)]
        {
            let painted = Screen::new(live, no_color).painted(Colour::Red, "x");
            assert_eq!(painted.contains('\x1b'), coloured, "{live} {no_color}");
            assert!(painted.contains('x'));
        }
    }

    #[tokio::test]
    async fn what_happens_is_counted_and_what_does_not_is_told() {
        let screen = Screen::new(false, false);
        assert_eq!(screen.check("one", async { Ok::<_, String>(1) }).await.unwrap(), 1);
        let unseen = screen.check("two", async { Err::<(), _>("nothing") }).await.unwrap_err();
        assert_eq!(unseen.to_string(), "expected: two\nseen:     nothing");
        assert_eq!(screen.seen(), 1);
    }
}
