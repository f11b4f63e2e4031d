//! The words of Jsonnet.

use std::rc::Rc;

use super::failure::{Failure, Outcome};
use super::source::At;

/// The kinds of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Identifier,
    Keyword,
    Number,
    Text,
    /// A text between `|||`.
    TextBlock,
    Operator,
    /// One of `{}[](),.;` and `$`.
    Symbol,
    End,
}

/// A word.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// The word itself. For texts it is their contents, for numbers their digits without underscores.
    pub(super) text: Rc<str>,
    pub(super) at: At,
}

const KEYWORDS: [&str; 18] = [
    "assert",
    "else",
    "error",
    "false",
    "for",
    "function",
    "if",
    "import",
    "importbin",
    "importstr",
    "in",
    "local",
    "null",
    "self",
    "super",
    "tailstrict",
    "then",
    "true",
];

/// The longest run of characters that is taken for one operator. The longest operator has four.
const MAX_OPERATOR: usize = 8;

/// Splits `text` into words.
pub(super) fn lex(file: u32, text: &str) -> Outcome<Vec<Token>> {
    let mut lexer = Lexer { file, text, position: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token()? {
        tokens.push(token);
    }
    tokens.push(Token { kind: TokenKind::End, text: "".into(), at: At::new(file, text.len()) });
    Ok(tokens)
}

struct Lexer<'a> {
    file: u32,
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn take_if(&mut self, is_wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(is_wanted);
        if found {
            self.next();
        }
        found
    }

    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) {
        while self.take_if(&is_wanted) {}
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.position).unwrap_or_default()
    }

    fn failure(&self, offset: usize, message: impl Into<String>) -> Box<Failure> {
        Failure::at(At::new(self.file, offset), message)
    }

    fn skip_space(&mut self) -> Outcome<()> {
        loop {
            self.take_while(|character| matches!(character, ' ' | '\t' | '\r' | '\n'));
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.take_while(|character| character != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let length = comment.find("*/");
                let length = length.ok_or_else(|| self.failure(self.position, "a comment is not closed with */"))?;
                self.position += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn next_token(&mut self) -> Outcome<Option<Token>> {
        self.skip_space()?;
        let start = self.position;
        let Some(first) = self.peek() else { return Ok(None) };
        let (kind, text) = match first {
            '{' | '}' | '[' | ']' | ',' | '.' | '(' | ')' | ';' => {
                self.next();
                (TokenKind::Symbol, self.since(start).into())
            }
            '0'..='9' => (TokenKind::Number, self.lex_number()?),
            '"' | '\'' => (TokenKind::Text, self.lex_text(first)?),
            '@' => (TokenKind::Text, self.lex_verbatim()?),
            'a'..='z' | 'A'..='Z' | '_' => {
                self.take_while(is_word);
                let word = self.since(start);
                let kind = if KEYWORDS.contains(&word) { TokenKind::Keyword } else { TokenKind::Identifier };
                (kind, word.into())
            }
            '|' if self.rest().starts_with("|||") => (TokenKind::TextBlock, self.lex_block()?),
            _ if is_operator(first) => {
                let operator = self.lex_operator();
                (if operator == "$" { TokenKind::Symbol } else { TokenKind::Operator }, operator.into())
            }
            _ => return Err(self.failure(start, format!("the character {first:?} is not expected here"))),
        };
        Ok(Some(Token { kind, text, at: At::new(self.file, start) }))
    }

    /// Reads an operator: all characters that may belong to it, without a comment and without unary operators at its end.
    fn lex_operator(&mut self) -> &'a str {
        let start = self.position;
        self.next();
        while self.position < start + MAX_OPERATOR
            && !["//", "/*", "|||"].iter().any(|end| self.rest().starts_with(end))
            && self.take_if(is_operator)
        {}
        while self.position > start + 1 && self.since(start).ends_with(['+', '-', '~', '!', '$']) {
            self.position -= 1;
        }
        self.since(start)
    }

    fn lex_number(&mut self) -> Outcome<Rc<str>> {
        let start = self.position;
        if self.take_if(|character| character == '0') {
            if self.peek() == Some('_') {
                return Err(self.failure(self.position, "a number must not have _ after a leading 0"));
            }
        } else {
            self.lex_digits()?;
        }
        if self.take_if(|character| character == '.') {
            self.lex_digits()?;
        }
        if self.take_if(|character| matches!(character, 'e' | 'E')) {
            self.take_if(|character| matches!(character, '+' | '-'));
            self.lex_digits()?;
        }
        Ok(self.since(start).replace('_', "").into())
    }

    /// Reads at least one digit. Between two of them there may be an underscore.
    fn lex_digits(&mut self) -> Outcome<()> {
        loop {
            if !self.take_if(|character| character.is_ascii_digit()) {
                return Err(self.failure(self.position, "a number must have a digit here"));
            }
            self.take_while(|character| character.is_ascii_digit());
            if !self.take_if(|character| character == '_') {
                return Ok(());
            }
        }
    }

    fn lex_text(&mut self, quote: char) -> Outcome<Rc<str>> {
        let start = self.position;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(self.failure(start, "a text is not closed")),
                Some('\\') => text.push(self.lex_escape()?),
                Some(character) if character == quote => return Ok(text.into()),
                Some(character) => text.push(character),
            }
        }
    }

    fn lex_escape(&mut self) -> Outcome<char> {
        let start = self.position - 1;
        let character = match self.next() {
            Some(character @ ('"' | '\'' | '\\' | '/')) => character,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let code = self.lex_code(start)?;
                if !(0xd800..=0xdfff).contains(&code) {
                    return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let has_second = self.rest().starts_with("\\u");
                if !has_second {
                    return Err(self.failure(start, "a surrogate in a text lacks the other half"));
                }
                self.position += 2;
                let second = self.lex_code(start)?;
                let pair = [u16::try_from(code).unwrap_or_default(), u16::try_from(second).unwrap_or_default()];
                let decoded = char::decode_utf16(pair).next().and_then(Result::ok);
                decoded.unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(character) => return Err(self.failure(start, format!("\\{character} is not known in a text"))),
            None => return Err(self.failure(start, "a text is not closed")),
        };
        Ok(character)
    }

    fn lex_code(&mut self, start: usize) -> Outcome<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or_else(|| self.failure(start, "\\u must be followed by four hexadecimal digits"))?;
        self.position += 4;
        Ok(u32::from_str_radix(digits, 16).unwrap_or_default())
    }

    fn lex_verbatim(&mut self) -> Outcome<Rc<str>> {
        let start = self.position;
        self.next();
        let quote = self.next().filter(|character| matches!(character, '"' | '\''));
        let quote = quote.ok_or_else(|| self.failure(start, "@ must be followed by a quotation mark"))?;
        let mut text = String::new();
        loop {
            let character = self.next().ok_or_else(|| self.failure(start, "a text is not closed"))?;
            if character == quote && !self.take_if(|next| next == quote) {
                return Ok(text.into());
            }
            text.push(character);
        }
    }

    /// Reads a text between `|||`: lines that begin with the space that the first of them begins with.
    fn lex_block(&mut self) -> Outcome<Rc<str>> {
        let start = self.position;
        self.position += 3;
        let is_chomped = self.take_if(|character| character == '-');
        self.take_while(|character| matches!(character, ' ' | '\t' | '\r'));
        if self.next() != Some('\n') {
            return Err(self.failure(start, "||| must be followed by a new line"));
        }
        let mut text = String::new();
        self.copy_blank_lines(&mut text);
        let rest = self.rest();
        let margin = rest.get(..rest.len() - rest.trim_start_matches([' ', '\t']).len()).unwrap_or_default();
        if margin.is_empty() {
            return Err(self.failure(start, "the first line after ||| must begin with space"));
        }
        while self.rest().starts_with(margin) {
            self.position += margin.len();
            let line = self.rest();
            let length = line.find('\n').ok_or_else(|| self.failure(start, "a text is not closed with |||"))?;
            text.push_str(line.get(..=length).unwrap_or_default());
            self.position += length + 1;
            self.copy_blank_lines(&mut text);
        }
        self.take_while(|character| matches!(character, ' ' | '\t'));
        if !self.rest().starts_with("|||") {
            return Err(self.failure(start, "a text is not closed with |||"));
        }
        self.position += 3;
        if is_chomped {
            text.pop();
        }
        Ok(text.into())
    }

    fn copy_blank_lines(&mut self, text: &mut String) {
        while self.take_if(|character| character == '\n') {
            text.push('\n');
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn is_operator(character: char) -> bool {
    matches!(character, '!' | '$' | ':' | '~' | '+' | '-' | '&' | '|' | '^' | '=' | '<' | '>' | '*' | '/' | '%')
}
