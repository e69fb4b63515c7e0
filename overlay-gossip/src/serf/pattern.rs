//! Regular expressions as Go has them (RE2's syntax), made of untrusted text and matched in bounded time.
//!
//! The engine is `regex-lite`, whose syntax differs in details. An expression is read by Go's rules and written down
//! again in the part of the syntax that means the same to both. What Go refuses is refused. So are classes of Unicode
//! (`\pL`), which the engine does not know; `(?i)` folds ASCII only.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use regex_lite::{Regex, RegexBuilder};

/// Whether `pattern` is found in `text`; nothing if it is no expression or takes more than `size` bytes.
pub(super) fn is_match(pattern: &str, text: &str, size: usize) -> Option<bool> {
    compile(pattern, size).map(|regex| regex.is_match(text))
}

/// Whether a pattern is one that others would accept.
pub(super) fn is_valid(pattern: &str) -> bool {
    compile(pattern, MAX_SIZE).is_some()
}

fn compile(pattern: &str, size: usize) -> Option<Regex> {
    if pattern.len() > MAX_LEN {
        return None;
    }
    let mut translator = Translator { rest: pattern.chars().peekable(), out: String::new(), repeated: false };
    translator.run()?;
    RegexBuilder::new(&translator.out).size_limit(size).build().ok()
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    /// What precedes is a repetition, which must not be repeated.
    repeated: bool,
}

/// One thing in a class.
enum Item {
    Char(char),
    /// Several, as the engine writes them in a class.
    Class(&'static str),
}

impl Translator<'_> {
    fn run(&mut self) -> Option<()> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => self.repetition(&c.to_string())?,
                '{' => match self.count()? {
                    Some(count) => self.repetition(&count)?,
                    None => self.literal('{'),
                },
                '|' | ')' | '^' | '$' | '.' => {
                    self.out.push(c);
                    self.repeated = false;
                }
                literal => self.literal(literal),
            }
        }
        Some(())
    }

    fn literal(&mut self, c: char) {
        push(&mut self.out, c);
        self.repeated = false;
    }

    fn repetition(&mut self, operator: &str) -> Option<()> {
        if self.repeated {
            return None;
        }
        self.out.push_str(operator);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.repeated = true;
        Some(())
    }

    /// After `{`: a count, if it is one.
    fn count(&mut self) -> Option<Option<String>> {
        let text: String = self.rest.clone().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        let len = text.chars().count();
        let (min, max) = text.split_once(',').unwrap_or((&text, &text));
        let closed = self.rest.clone().nth(len) == Some('}');
        let (Some(min), true) = (number(min), closed) else { return Some(None) };
        let max = if max.is_empty() { Some(min) } else { number(max) };
        let Some(max) = max else { return Some(None) };
        if min > max || max > MAX_COUNT {
            return None;
        }
        self.rest.nth(len);
        Some(Some(format!("{{{text}}}")))
    }

    /// After `(`.
    fn group(&mut self) -> Option<()> {
        self.out.push('(');
        self.repeated = false;
        if self.rest.next_if_eq(&'?').is_none() {
            return Some(());
        }
        let named = self.rest.next_if_eq(&'P').is_some();
        if self.rest.next_if_eq(&'<').is_some() {
            let mut name = self.rest.by_ref().take_while(|c| *c != '>');
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            return (name.next().is_some_and(plain) && name.all(plain)).then_some(());
        }
        if named {
            return None;
        }
        self.out.push('?');
        for flag in self.rest.by_ref() {
            self.out.push(flag);
            match flag {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' => return Some(()),
                _ => return None,
            }
        }
        None
    }

    /// After `\`, outside of a class.
    fn escape(&mut self) -> Option<()> {
        let next = *self.rest.peek()?;
        match next {
            'Q' => {
                self.rest.next();
                self.quoted();
            }
            'A' | 'z' | 'b' | 'B' => {
                self.rest.next();
                self.out.push('\\');
                self.out.push(next);
                self.repeated = false;
            }
            _ => match self.escaped()? {
                Item::Char(c) => self.literal(c),
                Item::Class(class) => {
                    self.out.push('[');
                    self.out.push_str(class);
                    self.out.push(']');
                    self.repeated = false;
                }
            },
        }
        Some(())
    }

    /// After `\Q`: all is meant as it is, up to `\E`.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    /// After `\`, where a character or several may be.
    fn escaped(&mut self) -> Option<Item> {
        let c = self.rest.next()?;
        Some(Item::Char(match c {
            'd' => return Some(Item::Class("0-9")),
            'D' => return Some(Item::Class(r"\x00-/:-\x{10FFFF}")),
            's' => return Some(Item::Class(r"\t\n\f\r ")),
            'S' => return Some(Item::Class(r"\x00-\x08\x0B\x0E-\x1F!-\x{10FFFF}")),
            'w' => return Some(Item::Class("0-9A-Za-z_")),
            'W' => return Some(Item::Class(r"\x00-/:-@\x5B-\x5E`\x7B-\x{10FFFF}")),
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hexadecimal().map(Item::Char),
            '0'..='7' => return self.octal(c).map(Item::Char),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            _ => return None,
        }))
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            let ahead: String = self.rest.clone().take(9).collect();
            let digits = ahead.split_once('}')?.0.to_owned();
            self.rest.nth(digits.chars().count());
            digits
        } else {
            [self.rest.next()?, self.rest.next()?].iter().collect()
        };
        let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u32::from_str_radix(&digits, 16).ok()).flatten().and_then(char::from_u32)
    }

    /// `\123`; a single digit but zero would mean what a group has found, which neither knows.
    fn octal(&mut self, first: char) -> Option<char> {
        let octal = |c: &char| ('0'..='7').contains(c);
        if first != '0' && !self.rest.peek().is_some_and(octal) {
            return None;
        }
        let mut value = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(next) = self.rest.next_if(octal) else { break };
            value = value * 8 + next.to_digit(8)?;
        }
        char::from_u32(value)
    }

    /// After `[`.
    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        self.repeated = false;
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.rest.next()?;
            if c == ']' && !first {
                self.out.push(']');
                return Some(());
            }
            first = false;
            if c == '[' && self.named_class()? {
                continue;
            }
            match self.item(c)? {
                Item::Class(class) => self.out.push_str(class),
                Item::Char(low) => self.range(low)?,
            }
        }
    }

    fn item(&mut self, c: char) -> Option<Item> {
        if c == '\\' { self.escaped() } else { Some(Item::Char(c)) }
    }

    /// A character of a class, or a range that begins with it.
    fn range(&mut self, low: char) -> Option<()> {
        push(&mut self.out, low);
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.peek().is_none_or(|c| *c == ']') {
            return Some(());
        }
        self.rest = ahead;
        let c = self.rest.next()?;
        let Item::Char(high) = self.item(c)? else { return None };
        self.out.push('-');
        push(&mut self.out, high);
        (low <= high).then_some(())
    }

    /// After `[` in a class: `:alpha:]`, if it is such a one.
    fn named_class(&mut self) -> Option<bool> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some(':') {
            return Some(false);
        }
        let rest: String = ahead.clone().take(16).collect();
        let Some((name, _)) = rest.split_once(":]") else { return Some(false) };
        if !CLASSES.contains(&name.trim_start_matches('^')) {
            return None;
        }
        ahead.nth(name.len() + 1);
        self.rest = ahead;
        let _ = write!(self.out, "[:{name}:]");
        Some(true)
    }
}

/// A number as a count may have it: decimal, without zeros in front.
fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let shortest = text.len() < 2 || !text.starts_with('0');
    (plain && shortest).then(|| text.parse().unwrap_or(u32::MAX))
}

/// Writes a character that means itself, in a class or outside.
fn push(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{:02x}", u32::from(c));
    }
}

const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
/// Go's own limit.
const MAX_COUNT: u32 = 1000;
/// As long as a whole query of serf's.
const MAX_LEN: usize = 1024;
/// What an expression may occupy.
pub(super) const MAX_SIZE: usize = 32 << 10;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test measures time")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Go's `regexp.MatchString` says to each of these.
    #[test]
    fn expressions_mean_what_they_mean_to_go() {
        let found = [
            ("web", "my-web-1"),
            ("^(web|db)$", "db"),
            ("", "anything"),
            ("^$", ""),
            (r"\Qa.b\E+", "a.bb"),
            (r"\Qa.b", "a.b"),
            (r"^\x41\x{42}\103\07?$", "ABC"),
            (r"\_\<\-", "_<-"),
            ("a{,2}", "a{,2}"),
            ("^a{2,3}?$", "aaa"),
            ("x{a}", "x{a}"),
            (r"\b{start}", "a{start}"),
            ("^[[:alpha:][:^digit:]_]+$", "ab_"),
            ("^[]a]+$", "]a"),
            ("^[a[b]+$", "[ab"),
            ("^[[:word]+$", "[word:"),
            ("^[a&&b~~c]+$", "&~abc"),
            ("^[a-c-]+$", "a-c"),
            (r"^[\d\-x]+$", "1-x"),
            (r"^[\S]+\s[^\D]$", "ab 1"),
            (r"^[\W]+$", "[]{}@ é"),
            ("(?i)WEB", "web"),
            ("(?i:W)eb", "web"),
            ("(?P<name>a)b", "ab"),
            ("(?s).", "\n"),
            ("(?m)^b$", "a\nb\nc"),
            ("ü+", "für"),
            ("a # b", "a # b"),
        ];
        for (pattern, text) in found {
            assert_eq!(is_match(pattern, text, MAX_SIZE), Some(true), "{pattern} in {text}");
        }
        for (pattern, text) in
            [("^web$", "web1"), (".", "\n"), ("a$", "a\n"), (r"^\s$", "\x0b"), ("web", "WEB")]
        {
            assert_eq!(is_match(pattern, text, MAX_SIZE), Some(false), "{pattern} in {text}");
        }
        let wrong = [
            "(",
            ")",
            "[",
            "a**",
            "a+*",
            "a{2}{3}",
            "a{1001}",
            "a{3,2}",
            "*",
            "[b-a]",
            r"\8",
            r"\1",
            r"\y",
            r"\",
            r"\u0041",
            "(?x)a",
            "(?=a)",
            "(?<!a)",
            "(?P<>a)",
            "(?P=a)",
            "[[:none:]]",
            r"[a-\d]",
            r"\xg1",
            r"\x{110000}",
            r"\x{41",
            r"\pL",
            r"[\b]",
            "a{0,9999999999}{",
        ];
        for pattern in wrong {
            assert_eq!(is_match(pattern, "a", MAX_SIZE), None, "{pattern}");
        }
    }

    #[test]
    fn no_expression_takes_long() {
        let text = "a".repeat(512);
        let patterns = [
            "(a*)*b".into(),
            "(a|a)*(a|a)*(a|a)*b".into(),
            "((((a{1,100}){1,100}){1,100}){1,100}){1,100}".into(),
            "(x+x+)+y".into(),
            "a?".repeat(250) + &"a".repeat(250) + "b",
            "(".repeat(1024),
            "(a".repeat(340),
            "(){1000}b".into(),
            "((((){1000}){1000}){1000}){1000}b".into(),
            "[".repeat(1024),
            "x".repeat(2000),
            "((?:(?:(?:(?:){1000}){1000}){1000}){1000}){1000}b".into(),
            "(?:a?){400}b".into(),
            "(a|aa|aaa|aaaa)*".repeat(40) + "b",
            "[a-z]*".repeat(100) + "b",
            "{".repeat(1024),
            "{1".repeat(512),
        ];
        for pattern in patterns {
            let start = std::time::Instant::now();
            assert_ne!(is_match(&pattern, &text, MAX_SIZE), Some(true), "{pattern}");
            assert!(start.elapsed() < std::time::Duration::from_secs(1), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in r"([\\\[\](){}*+?|^$.:,<>PQEabdsx019&~é-]|\(\?|\[:){0,40}", text in ".{0,20}") {
            let _ = is_match(&pattern, &text, MAX_SIZE);
        }

        #[test]
        fn plain_text_is_found_as_it_is(text in "[ -DF-~]{0,30}") {
            prop_assert_eq!(is_match(&format!("^\\Q{text}\\E$"), &text, MAX_SIZE), Some(true));
        }
    }
}
