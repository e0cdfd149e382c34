//! The Enter key of the composer: when it sends the message, and when it does not.
//!
//! An input method may use the key itself, and browsers report that differently: as a key with the code 229, as a key
//! during a composition, before or after the composition ends (UI Events, 4.3.4; WebKit bug 165004). The line break
//! that the key is about to insert is reliable: it comes once for each Enter that the input method leaves to the page.
//! So the line break decides, and the key alone only where no input method is involved.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// The key is Enter.
    pub(super) is_enter: bool,
    /// An input method hides the key from the page.
    pub(super) is_hidden: bool,
    /// The key was pressed during a composition.
    pub(super) is_composing: bool,
    /// With Shift, Enter starts a new line.
    pub(super) shift: bool,
    /// With Ctrl or Meta, Enter always sends.
    pub(super) command: bool,
}

/// The reaction to an event of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The browser does what it would do without the page.
    None,
    /// The browser's own action is prevented, and the message is sent.
    Send,
    /// The browser's own action is prevented. The message is sent when the composition has ended.
    SendLater,
}

/// The pressed key whose effect is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pressed {
    #[default]
    Nothing,
    /// Enter or a key that an input method hides. With Shift or on a touch keyboard it starts a new line.
    Enter { is_sure: bool, starts_line: bool },
}

/// The Enter key of one field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EnterKey {
    pressed: Pressed,
    /// The message is sent when the composition has ended.
    is_waiting: bool,
}

impl EnterKey {
    /// A key goes down. On touch keyboards Enter starts a new line.
    pub(super) fn down(&mut self, key: Key, is_touch: bool) -> Reaction {
        if !key.is_enter && !key.is_hidden {
            self.pressed = Pressed::Nothing;
            return Reaction::None;
        }
        let starts_line = key.shift || is_touch && !key.command;
        if key.is_enter && !key.is_hidden && !key.is_composing {
            self.pressed = Pressed::Nothing;
            return if starts_line { Reaction::None } else { Reaction::Send };
        }
        self.pressed = Pressed::Enter { is_sure: key.is_enter, starts_line };
        Reaction::None
    }

    /// A key goes up.
    pub(super) fn up(&mut self) {
        if matches!(self.pressed, Pressed::Enter { is_sure: false, .. }) {
            self.pressed = Pressed::Nothing;
        }
    }

    /// The browser is about to insert a line break.
    pub(super) fn line_break(&mut self, is_composing: bool) -> Reaction {
        match std::mem::take(&mut self.pressed) {
            Pressed::Enter { starts_line: false, .. } if is_composing => {
                self.is_waiting = true;
                Reaction::SendLater
            }
            Pressed::Enter { starts_line: false, .. } => Reaction::Send,
            // A line break without a key is dictated or comes from a touch keyboard.
            Pressed::Enter { .. } | Pressed::Nothing => Reaction::None,
        }
    }

    /// A composition has ended with `text`. Returns whether the message is to be sent once the field has the text.
    ///
    /// A Korean syllable has no candidates that Enter could confirm, so Enter that ends one also sends, even if no line
    /// break follows. Japanese and Chinese input methods use the key to confirm a candidate.
    pub(super) fn composed(&mut self, text: &str) -> bool {
        let ends_syllable = text.chars().last().is_some_and(is_hangul)
            && matches!(self.pressed, Pressed::Enter { is_sure: true, starts_line: false });
        std::mem::take(&mut self.is_waiting) || ends_syllable
    }
}

/// Syllables and letters of the Korean script (Unicode blocks Hangul Jamo, Compatibility Jamo, Syllables).
fn is_hangul(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{ac00}'..='\u{d7a3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTER: Key = Key { is_enter: true, is_hidden: false, is_composing: false, shift: false, command: false };

    #[derive(Clone, Copy)]
    enum Step {
        Down(Key),
        Up,
        LineBreak { composing: bool },
        Composed(&'static str),
    }
    use Step::{Composed, Down, LineBreak, Up};

    /// The number of messages that the steps send, and of line breaks that they insert.
    fn run(steps: &[Step], is_touch: bool) -> (usize, usize) {
        let (mut key, mut sent, mut lines) = (EnterKey::default(), 0, 0);
        // What the field contains: an empty field sends nothing.
        let mut has_text = true;
        let mut send = |has_text: &mut bool| sent += usize::from(std::mem::take(has_text));
        for step in steps {
            match *step {
                Down(pressed) => {
                    if key.down(pressed, is_touch) == Reaction::Send {
                        send(&mut has_text);
                    }
                }
                Up => key.up(),
                LineBreak { composing } => match key.line_break(composing) {
                    Reaction::None => lines += 1,
                    Reaction::Send => send(&mut has_text),
                    Reaction::SendLater => {}
                },
                Composed(text) => {
                    if key.composed(text) {
                        send(&mut has_text);
                    }
                }
            }
        }
        (sent, lines)
    }

    #[test]
    fn korean_enter_sends_once_in_every_order_of_events() {
        let hidden = Key { is_hidden: true, ..ENTER };
        let unknown = Key { is_enter: false, ..hidden };
        let composing = Key { is_composing: true, ..ENTER };
        let line = LineBreak { composing: false };
        let cases: [(&str, &[Step]); 9] = [
            ("no input method", &[Down(ENTER), Up]),
            ("229, commit, line break", &[Down(hidden), Composed("요"), line, Up]),
            ("229 without a name, commit, line break", &[Down(unknown), Composed("요"), line, Up]),
            (
                "229 in a composition, commit, line break",
                &[Down(Key { is_composing: true, ..hidden }), Composed("요"), line, Up],
            ),
            ("key in a composition, then commit", &[Down(composing), Composed("요"), Up]),
            (
                "key in a composition, line break, commit",
                &[Down(composing), LineBreak { composing: true }, Composed("요"), Up],
            ),
            ("key in a composition, commit, key again", &[Down(composing), Composed("요"), Down(ENTER), Up]),
            ("commit, 229, line break", &[Composed("요"), Down(hidden), line, Up]),
            ("two keys at once", &[Down(unknown), Down(hidden), Up, Composed("요"), line, Up]),
        ];
        for (case, steps) in cases {
            assert_eq!(run(steps, false), (1, 0), "{case}");
        }
    }

    #[test]
    fn candidate_is_confirmed_without_sending() {
        let hidden = Key { is_hidden: true, ..ENTER };
        let composing = Key { is_composing: true, ..ENTER };
        let cases: [(&str, &[Step]); 4] = [
            ("Chromium", &[Down(Key { is_composing: true, ..hidden }), Composed("漢字"), Up]),
            ("Firefox", &[Down(composing), Composed("かな"), Up]),
            ("Safari", &[Composed("漢字"), Down(hidden), Up]),
            ("Hanja", &[Down(composing), Composed("漢"), Up]),
        ];
        for (case, steps) in cases {
            assert_eq!(run(steps, false), (0, 0), "{case}");
            let then_enter: Vec<_> = steps.iter().copied().chain([Down(ENTER), Up]).collect();
            assert_eq!(run(&then_enter, false), (1, 0), "{case}, then Enter");
        }
    }

    #[test]
    fn line_is_started_by_shift_dictation_and_touch_keyboards() {
        let line = LineBreak { composing: false };
        let shifted = Key { shift: true, ..ENTER };
        let hidden = Key { is_hidden: true, shift: true, ..ENTER };
        assert_eq!(run(&[Down(shifted), line, Up], false), (0, 1));
        assert_eq!(run(&[Down(hidden), Composed("요"), line, Up], false), (0, 1));
        let letter = Key { is_enter: false, is_hidden: true, ..ENTER };
        assert_eq!(run(&[Down(letter), Up, Composed("요"), line], false), (0, 1), "dictated");
        let unknown = Key { is_enter: false, is_hidden: true, ..ENTER };
        for key in [ENTER, unknown] {
            assert_eq!(run(&[Down(key), line, Up], true), (0, 1), "touch");
        }
        assert_eq!(run(&[Down(Key { command: true, ..ENTER })], true), (1, 0), "touch with Ctrl");
    }
}
