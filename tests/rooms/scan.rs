//! Reads Rust as far as paths go: which names a file imports or spells out.

/// A path as written, with `self` and `super` resolved: either `crate` and what follows, or an outside or local name.
#[derive(Debug)]
pub struct Named {
    pub segments: Vec<String>,
    pub line: usize,
    pub kind: Kind,
    /// The name that it has in the file: the last segment of an import, unless `as` gives it another.
    pub name: String,
    /// Whether it stands in an inline module `tests`.
    pub in_tests: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Import,
    /// `pub use`, in whatever scope.
    Reexport,
    /// A path of two or more segments, outside of imports.
    Path,
    /// One name alone: a variable, a type in scope, a keyword.
    Word,
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// Every path of a source file that lies in `module`.
pub fn paths(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut module = module.to_vec();
    // Of each open brace: whether it is a module's.
    let mut open = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = if at == 0 { "" } else { text(at - 1) };
        match text(at) {
            "mod" if is_name(text(at + 1)) && text(at + 2) == "{" => {
                module.push(text(at + 1).to_owned());
                open.push(true);
                at += 3;
            }
            // The declaration of another file.
            "mod" if is_name(text(at + 1)) && text(at + 2) == ";" => at += 3,
            "{" => {
                open.push(false);
                at += 1;
            }
            "}" => {
                if open.pop() == Some(true) {
                    module.pop();
                }
                at += 1;
            }
            // `use<>` of a return type imports nothing.
            "use" if text(at + 1) != "<" => {
                let public = before == "pub" || before == ")";
                let kind = if public { Kind::Reexport } else { Kind::Import };
                at = tree(&tokens, at + 1, &[], (&module, kind), &mut found);
            }
            "extern" if text(at + 1) == "crate" => {
                let name = vec![text(at + 2).to_owned()];
                found.push(named(name, tokens[at].line, (&module, Kind::Import)));
                at += 3;
            }
            name if is_name(name)
                && !(before == "." || before == "::" && is_end(text(at.wrapping_sub(2)))) =>
            {
                let line = tokens[at].line;
                let mut segments = vec![name.to_owned()];
                while text(at + 1) == "::" && is_name(text(at + 2)) {
                    segments.push(text(at + 2).to_owned());
                    at += 2;
                }
                let kind = if segments.len() > 1 { Kind::Path } else { Kind::Word };
                // `in super` is a visibility.
                if segments.iter().any(|part| part != "super") {
                    found.push(named(segments, line, (&module, kind)));
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

/// The paths of one `use` tree that begins at `at`; returns where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    place: (&[String], Kind),
    found: &mut Vec<Named>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut renamed = None;
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, &segments, place, found);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => {
                renamed = tokens.get(at + 1).map(|token| token.text.clone());
                at += 2;
            }
            name if is_name(name) || name == "*" => {
                segments.push(name.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    let mut named = named(segments, line, place);
    named.name = renamed.unwrap_or(named.name);
    found.push(named);
    at
}

fn named(segments: Vec<String>, line: usize, (module, kind): (&[String], Kind)) -> Named {
    let mut here = module.to_vec();
    let mut relative = false;
    let mut rest = segments.as_slice();
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "self" => relative = true,
            "super" => {
                relative = true;
                here.pop();
            }
            _ => break,
        }
        rest = tail;
    }
    let mut segments =
        if relative { [vec!["crate".to_owned()], here, rest.to_vec()].concat() } else { segments };
    // `use crate::{self}` imports what stands before it.
    if segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let name = segments.last().cloned().unwrap_or_default();
    let in_tests = module.last().is_some_and(|module| module == "tests");
    Named { segments, line, kind, name, in_tests }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Whether `::` after this token goes on with a path, rather than starting one.
fn is_end(text: &str) -> bool {
    is_name(text)
        && !["use", "return", "in", "as", "mut", "dyn", "impl", "else", "match"].contains(&text)
        || text == ">"
}

/// Names and punctuation; without comments, strings, characters, lifetimes and numbers.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest, first);
        if length > 0 {
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
            continue;
        }
        let length = if is_name(rest) {
            rest.find(|next: char| !(next.is_alphanumeric() || next == '_')).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(Token { text: rest[..length].to_owned(), line });
        rest = &rest[length..];
    }
    tokens
}

/// The length of what `rest` begins with, if it says nothing about paths.
fn skipped(rest: &str, first: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return comment(rest);
    }
    if rest.starts_with("r#") && is_name(&rest[2..]) {
        return 2;
    }
    let literal = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - literal.len();
    if prefix <= 1 {
        if literal.starts_with('"') {
            return prefix + quoted(literal, '"');
        }
        if let Some(hashes) =
            literal.strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len())
            && literal[1 + hashes..].starts_with('"')
        {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = &literal[2 + hashes..];
            let end = body.find(&close).map_or(body.len(), |end| end + close.len());
            return prefix + 2 + hashes + end;
        }
    }
    match first {
        '\'' if rest[1..].starts_with('\\') => quoted(rest, '\''),
        '\'' if rest.chars().nth(2) == Some('\'') => {
            rest.char_indices().nth(3).map_or(rest.len(), |(end, _)| end)
        }
        // A lifetime.
        '\'' => {
            1 + rest[1..]
                .find(|next: char| !(next.is_alphanumeric() || next == '_'))
                .unwrap_or(rest.len() - 1)
        }
        '0'..='9' => {
            rest.find(|next: char| !(next.is_alphanumeric() || next == '_')).unwrap_or(rest.len())
        }
        _ if first.is_whitespace() => first.len_utf8(),
        _ => 0,
    }
}

fn comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if next == '\\' {
            escaped = true;
        } else if next == quote {
            return at + 1;
        }
    }
    rest.len()
}
