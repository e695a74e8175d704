"""Splits a psql script into the statements that psql would send, one chunk each, by psql's own rules.

A chunk is a statement with what stands before it on its lines, or one backslash command; rows of COPY FROM STDIN belong
to their statement. Joined again with newlines the chunks are the script.
"""

import re

DOLLAR = re.compile(r"\$([A-Za-z_\u0080-\uffff][A-Za-z_0-9\u0080-\uffff]*)?\$")
WORD = re.compile(r"[A-Za-z_\u0080-\uffff][A-Za-z_0-9$\u0080-\uffff]*")
STATEMENT = re.compile(r"^(select|insert|update|delete|copy|create|drop|alter|begin|commit|rollback|set|reset|truncate|"
                       r"with|grant|revoke|comment|vacuum|analyze|explain|\\d)\b.*", re.I)


class Chunk:
    """`text` as in the script, `sql` without comments in lower case, `data` when COPY's rows follow it."""

    def __init__(self, text, sql, command, data=False):
        self.text, self.sql, self.command, self.data = text, sql, command, data

    @property
    def counts(self):
        """Whether the server has a part in what it prints."""
        if self.sql:
            return True
        return bool(re.match(r"\\(d|s[fv]|z|l\b|list|lo_|copy|g|crosstabview|c\b|connect|watch|password|encoding|bind)", self.command or ""))


def split(script):
    chunks, start, at, depth, words, begin, sql = [], 0, 0, 0, [], 0, []
    end = len(script)

    def close(stop, command=None, data=False):
        nonlocal start, depth, words, begin, sql
        text = script[start:stop]
        bare = re.sub(r"\s+", " ", "".join(sql)).strip().lower()
        if text.strip():
            chunks.append(Chunk(text.strip("\n"), bare, command, data))
        start, depth, words, begin, sql = stop, 0, [], 0, []

    while at < end:
        char = script[at]
        if script.startswith("--", at):
            at = line_end(script, at)
        elif script.startswith("/*", at):
            at = comment_end(script, at)
            sql.append(" ")
        elif char == "'":
            escapes = at > 0 and script[at - 1] in "eE" and (at < 2 or not (script[at - 2].isalnum() or script[at - 2] == "_"))
            stop = quote_end(script, at, "'", escapes)
            sql.append(script[at:stop])
            at = stop
        elif char == '"':
            stop = quote_end(script, at, '"', False)
            sql.append(script[at:stop])
            at = stop
        elif char == "$" and (tag := DOLLAR.match(script, at)) and not (at and (script[at - 1].isalnum() or script[at - 1] == "_")):
            stop = script.find(tag.group(), tag.end())
            stop = end if stop < 0 else stop + len(tag.group())
            sql.append(script[at:stop])
            at = stop
        elif char == "\\":
            if script.startswith("\\;", at):
                sql.append(";")
                at += 2
                continue
            stop = line_end(script, at)
            command = script[at:stop]
            at = min(stop + 1, end)
            close(at, command)
        elif char in "([":
            depth += char == "("
            sql.append(char)
            at += 1
        elif char in ")]":
            depth -= char == ")" and depth > 0
            sql.append(char)
            at += 1
        elif char == ";" and depth == 0 and begin == 0:
            at += 1
            head = re.sub(r"\s+", " ", "".join(sql)).strip().lower()
            if re.match(r"copy\b.*\bfrom stdin\b", head) and (stop := data_end(script, at)):
                at = stop
                close(at, data=True)
                continue
            # What else stands on the line (a comment) belongs to this statement.
            rest = line_end(script, at)
            if not script[at:rest].strip() or script[at:rest].strip().startswith("--"):
                at = min(rest + 1, end)
            close(at)
        elif word := WORD.match(script, at):
            lower = word.group().lower()
            words.append(lower)
            # CREATE FUNCTION … BEGIN ATOMIC … END: psql counts BEGIN and CASE against END.
            if words[0] == "create" and any(w in ("function", "procedure") for w in words[1:4]):
                if lower == "begin" or (lower == "case" and begin):
                    begin += 1
                elif lower == "end" and begin:
                    begin -= 1
            sql.append(word.group())
            at = word.end()
        else:
            sql.append(char)
            at += 1
    close(end)
    return chunks


def line_end(script, at):
    stop = script.find("\n", at)
    return len(script) if stop < 0 else stop


def comment_end(script, at):
    depth = 0
    while at < len(script):
        if script.startswith("/*", at):
            depth += 1
            at += 2
        elif script.startswith("*/", at):
            depth -= 1
            at += 2
            if not depth:
                return at
        else:
            at += 1
    return at


def quote_end(script, at, quote, escapes):
    at += 1
    while at < len(script):
        if escapes and script[at] == "\\":
            at += 2
        elif script[at] == quote:
            if script[at + 1:at + 2] != quote:
                return at + 1
            at += 2
        else:
            at += 1
    return at


def data_end(script, at):
    """The end of COPY's rows, or None where the statement is meant to fail before it reads any."""
    at = line_end(script, at) + 1
    while at < len(script):
        stop = line_end(script, at)
        line = script[at:stop]
        if line == "\\.":
            return min(stop + 1, len(script))
        if STATEMENT.match(line) and line.rstrip().endswith(";"):
            return None
        at = stop + 1
    return None
