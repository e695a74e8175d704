//! Joins within joins without parentheses: `a JOIN b JOIN c ON … ON …`, where the second join stands to the right of the
//! first. sqlparser joins from left to right; the inner join gets parentheses here. So does a join that MERGE takes its rows from,
//! where sqlparser reads one table.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::word;

/// A join that waits for its condition.
struct Open {
    /// Where the table to its right begins.
    right: usize,
    /// Another join came before the condition.
    nested: bool,
}

/// Words behind which no join waits for its condition.
const ENDS: [&str; 10] =
    ["select", "where", "group", "having", "order", "union", "intersect", "except", "set", "returning"];

pub(super) fn parenthesise(tokens: &mut Vec<TokenWithSpan>) {
    let merges = tokens.first().is_some_and(|t| word(t, "merge"));
    if tokens.iter().filter(|t| word(t, "join")).count() < if merges { 1 } else { 2 } {
        return;
    }
    // Where the rows of MERGE come from, until its own ON.
    let mut source = None;
    let mut joined = false;
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    // Where parentheses are lacking.
    let mut places = Vec::new();
    // For each pair of parentheses that is open, the joins that wait.
    let mut levels: Vec<Vec<Open>> = vec![Vec::new()];
    for at in 0..tokens.len() {
        match tokens[at].token {
            Token::LParen => levels.push(Vec::new()),
            Token::RParen => _ = levels.pop(),
            _ => {}
        }
        let outermost = merges && levels.len() == 1;
        let Some(open) = levels.last_mut() else { return };
        if tokens[at].token == Token::Comma || ENDS.iter().any(|w| is(at, w)) {
            open.clear();
        } else if is(at, "join") {
            if let Some(outer) = open.last_mut() {
                outer.nested = true;
            }
            joined |= outermost;
            if !unconditional(tokens, at) {
                open.push(Open { right: at + 1, nested: false });
            }
        } else if outermost && source.is_none() && is(at, "using") {
            source = Some(at + 1);
        } else if outermost && joined && open.is_empty() && is(at, "on") {
            let Some(begin) = source else { return };
            places.extend([(begin, Token::LParen), (at, Token::RParen)]);
            joined = false;
        } else if (is(at, "on") || is(at, "using"))
            && let Some(join) = open.pop()
            && join.nested
        {
            places.extend([(join.right, Token::LParen), (at, Token::RParen)]);
        }
    }
    // From behind, so that what is inserted moves no place that is still to come.
    places.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (at, token) in places {
        let span = tokens[at].span;
        tokens.insert(at, TokenWithSpan::new(token, span));
    }
}

/// The JOIN at `at` is CROSS or NATURAL, with no condition of its own.
fn unconditional(tokens: &[TokenWithSpan], at: usize) -> bool {
    const KINDS: [&str; 5] = ["inner", "left", "right", "full", "outer"];
    let before = tokens[..at].iter().rev().find(|t| !KINDS.iter().any(|w| word(t, w)));
    before.is_some_and(|t| word(t, "cross") || word(t, "natural"))
}
