//! OVER: window specifications and frames.

use std::collections::HashSet;

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::expr::query;
use super::function::holds_set_or_window;
use super::resolve::{self, Kind};
use super::{Binder, Expects, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::sql::exclusion;
use crate::sql::rel::{Exclusion, Frame, FrameBound, FrameUnits, QueryExpr, SortKey, WindowCall};
use crate::types::TypeOid;

impl Binder {
    pub(super) fn window_call(
        &mut self,
        resolved: resolve::Resolved,
        args: Vec<ScalarExpr>,
        filter: Option<ScalarExpr>,
        over: &ast::WindowType,
        span: Span,
    ) -> Result<ScalarExpr> {
        if !self.expects.allows_windows() {
            let error = Error::new(
                SqlState::WindowingError,
                format!("window functions are not allowed in {}", self.expects.clause()),
            );
            return Err(self.source.locate(error, span));
        }
        if self.in_aggregate {
            return Err(self.window_in_aggregate(span));
        }
        if self.in_window {
            let error = Error::new(SqlState::WindowingError, "window function calls cannot be nested");
            return Err(self.source.locate(error, span));
        }
        let aggregate = match resolved.kind {
            Kind::Aggregate => true,
            Kind::Window => false,
            _ => {
                let error = Error::new(
                    SqlState::WrongObjectType,
                    format!(
                        "OVER specified, but {} is not a window function nor an aggregate function",
                        resolved.function.name
                    ),
                );
                return Err(self.source.locate(error, span));
            }
        };
        if args.iter().chain(&filter).any(|part| holds_set_or_window(part) == Some(Kind::Set)) {
            return Err(self.set_in_call("window", span));
        }
        if filter.is_some() && !aggregate {
            let message = "FILTER is not implemented for non-aggregate window functions";
            return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span));
        }
        let (spec, exclude) = self.window_spec(over)?;
        self.in_window = true;
        let parts = self.bind_window(&spec);
        self.in_window = false;
        let (partition_by, order_by, mut frame) = parts?;
        frame.exclude = exclude;
        let (args, ty) = self.window_extreme(&resolved.function, args, resolved.ty)?;
        let mut call =
            WindowCall { function: resolved.function, aggregate, args, filter, partition_by, order_by, frame, ty };
        if call.is_framed() {
            self.range_as_arguments(&mut call.frame, &call.order_by, &mut call.args, span)?;
        }
        Ok(Self::read_extreme(query(QueryExpr::Window(call), ty), resolved.ty))
    }

    /// The specification with what a named window adds to it.
    fn window_spec(&mut self, over: &ast::WindowType) -> Result<(ast::WindowSpec, Exclusion)> {
        match over {
            ast::WindowType::NamedWindow(name) => {
                let wanted = fold(name);
                let own = self.windows.iter_mut().find(|w| fold(&w.0) == wanted).map(|window| match &mut window.1 {
                    ast::NamedWindowExpr::WindowSpec(spec) => {
                        let whole = spec.order_by.clone();
                        let exclude = exclusion::take(&mut spec.order_by);
                        (whole, exclude)
                    }
                    ast::NamedWindowExpr::NamedWindow(_) => (Vec::new(), Exclusion::NoOthers),
                });
                let (whole, exclude) = own.unwrap_or((Vec::new(), Exclusion::NoOthers));
                let spec = self.named_window(name);
                // Others may name the window, too.
                if exclude != Exclusion::NoOthers
                    && let Some(ast::NamedWindowDefinition(_, ast::NamedWindowExpr::WindowSpec(spec))) =
                        self.windows.iter_mut().find(|w| fold(&w.0) == wanted)
                {
                    spec.order_by = whole;
                }
                Ok((spec?, exclude))
            }
            ast::WindowType::WindowSpec(spec) => {
                let mut spec = spec.clone();
                let exclude = exclusion::take(&mut spec.order_by);
                Ok((self.inherit(spec, false)?, exclude))
            }
        }
    }

    /// For RANGE with offsets whose frames are looked at one by one: the key, and the values between which the frame's keys lie, as arguments.
    fn range_as_arguments(
        &mut self,
        frame: &mut Frame,
        order_by: &[SortKey],
        args: &mut Vec<ScalarExpr>,
        span: Span,
    ) -> Result<()> {
        let [key] = order_by else { return Ok(()) };
        if frame.units != FrameUnits::Range {
            return Ok(());
        }
        let (plus, minus) = if key.descending { ("-", "+") } else { ("+", "-") };
        let mut bounds = [None, None];
        for (slot, bound) in bounds.iter_mut().zip([&frame.start, &frame.end]) {
            let (operator, offset) = match bound {
                FrameBound::Preceding(offset) => (minus, offset),
                FrameBound::Following(offset) => (plus, offset),
                _ => continue,
            };
            *slot = Some(self.operator(operator, Some(key.expr.clone()), offset.clone(), span)?);
        }
        let Some(ty) = bounds.iter().flatten().next().map(|bound| bound.ty) else { return Ok(()) };
        frame.computed = Some((bounds[0].is_some(), bounds[1].is_some()));
        args.push(self.coerce_explicit(key.expr.clone(), ty, span)?);
        args.extend(bounds.into_iter().flatten());
        Ok(())
    }

    fn named_window(&mut self, name: &ast::Ident) -> Result<ast::WindowSpec> {
        let wanted = fold(name);
        let found = self.windows.iter().find(|w| fold(&w.0) == wanted).cloned();
        match found {
            Some(ast::NamedWindowDefinition(_, ast::NamedWindowExpr::WindowSpec(spec))) => self.inherit(spec, true),
            Some(ast::NamedWindowDefinition(_, ast::NamedWindowExpr::NamedWindow(other))) if fold(&other) != wanted => {
                self.named_window(&other)
            }
            _ => {
                let error = Error::new(SqlState::UndefinedObject, format!("window \"{wanted}\" does not exist"));
                Err(self.source.locate(error, name.span))
            }
        }
    }

    /// `named`: the specification is one that WINDOW defines.
    fn inherit(&mut self, mut spec: ast::WindowSpec, named: bool) -> Result<ast::WindowSpec> {
        let Some(base) = spec.window_name.take() else {
            return Ok(spec);
        };
        let known = self.windows.iter().position(|w| fold(&w.0) == fold(&base));
        // A definition may only build on those before it: looking without it ends any circle.
        let hidden = known.map(|i| self.windows.split_off(i));
        let definition = hidden.as_ref().and_then(|h| h.first()).cloned();
        let parent = match definition {
            Some(definition) => {
                let name = definition.0.clone();
                match definition.1 {
                    ast::NamedWindowExpr::WindowSpec(parent) => self.inherit(parent, true),
                    ast::NamedWindowExpr::NamedWindow(other) => {
                        if fold(&other) == fold(&name) {
                            self.missing_window(&other)
                        } else {
                            self.named_window(&other)
                        }
                    }
                }
            }
            None => self.missing_window(&base),
        };
        if let Some(hidden) = hidden {
            self.windows.extend(hidden);
        }
        let parent = parent?;
        if !spec.partition_by.is_empty() {
            let error = Error::new(
                SqlState::WindowingError,
                format!("cannot override PARTITION BY clause of window \"{}\"", fold(&base)),
            );
            return Err(self.source.locate(error, base.span));
        }
        spec.partition_by = parent.partition_by;
        let ordered = !spec.order_by.is_empty();
        if spec.order_by.is_empty() {
            spec.order_by = parent.order_by;
        } else if !parent.order_by.is_empty() {
            let error = Error::new(
                SqlState::WindowingError,
                format!("cannot override ORDER BY clause of window \"{}\"", fold(&base)),
            );
            return Err(self.source.locate(error, base.span));
        }
        if parent.window_frame.is_some() {
            let message = format!("cannot copy window \"{}\" because it has a frame clause", fold(&base));
            let mut error = Error::new(SqlState::WindowingError, message);
            if !named && !ordered && spec.window_frame.is_none() {
                error = error.hint("Omit the parentheses in this OVER clause.");
            }
            return Err(self.source.locate(error, base.span));
        }
        Ok(spec)
    }

    fn missing_window(&self, name: &ast::Ident) -> Result<ast::WindowSpec> {
        let error = Error::new(SqlState::UndefinedObject, format!("window \"{}\" does not exist", fold(name)));
        Err(self.source.locate(error, name.span))
    }

    fn bind_window(&mut self, spec: &ast::WindowSpec) -> Result<(Vec<ScalarExpr>, Vec<SortKey>, Frame)> {
        let mut partition_by = Vec::with_capacity(spec.partition_by.len());
        for written in &spec.partition_by {
            let key = self.known(written)?;
            self.check_distinct(key.ty, written.span())?;
            partition_by.push(self.distinguished(key)?);
        }
        let order_by = spec.order_by.iter().map(|k| self.sort_key(k)).collect::<Result<Vec<_>>>()?;
        let frame = match &spec.window_frame {
            None => {
                let (start, end) = (FrameBound::UnboundedPreceding, FrameBound::CurrentRow);
                Frame { units: FrameUnits::Range, start, end, exclude: Exclusion::NoOthers, computed: None }
            }
            Some(frame) => self.frame(frame, &order_by)?,
        };
        Ok((partition_by, order_by, frame))
    }

    fn frame(&mut self, frame: &ast::WindowFrame, order_by: &[SortKey]) -> Result<Frame> {
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => FrameUnits::Rows,
            ast::WindowFrameUnits::Range => FrameUnits::Range,
            ast::WindowFrameUnits::Groups => FrameUnits::Groups,
        };
        let start = self.bound(&frame.start_bound, units, order_by, true)?;
        let end = match &frame.end_bound {
            Some(end) => self.bound(end, units, order_by, false)?,
            None => FrameBound::CurrentRow,
        };
        let problem = match (&start, &end) {
            (FrameBound::UnboundedFollowing, _) => Some("frame start cannot be UNBOUNDED FOLLOWING"),
            (_, FrameBound::UnboundedPreceding) => Some("frame end cannot be UNBOUNDED PRECEDING"),
            (FrameBound::CurrentRow, FrameBound::Preceding(_)) => {
                Some("frame starting from current row cannot have preceding rows")
            }
            (FrameBound::Following(_), FrameBound::Preceding(_) | FrameBound::CurrentRow) => {
                Some("frame starting from following row cannot end with current row")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::new(SqlState::WindowingError, problem));
        }
        if units == FrameUnits::Groups && order_by.is_empty() {
            return Err(Error::new(SqlState::WindowingError, "GROUPS mode requires an ORDER BY clause"));
        }
        Ok(Frame { units, start, end, exclude: Exclusion::NoOthers, computed: None })
    }

    fn bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        units: FrameUnits,
        order_by: &[SortKey],
        start: bool,
    ) -> Result<FrameBound> {
        use ast::WindowFrameBound as B;
        let _ = start;
        Ok(match bound {
            B::CurrentRow => FrameBound::CurrentRow,
            B::Preceding(None) => FrameBound::UnboundedPreceding,
            B::Following(None) => FrameBound::UnboundedFollowing,
            B::Preceding(Some(offset)) => FrameBound::Preceding(self.offset(offset, units, order_by)?),
            B::Following(Some(offset)) => FrameBound::Following(self.offset(offset, units, order_by)?),
        })
    }

    fn offset(&mut self, offset: &Expr, units: FrameUnits, order_by: &[SortKey]) -> Result<ScalarExpr> {
        let outer = std::mem::replace(&mut self.expects, Expects::Frame);
        let bound = self.expr(offset);
        self.expects = outer;
        let bound = bound?;
        let clause = match units {
            FrameUnits::Rows => "ROWS",
            FrameUnits::Range => "RANGE",
            FrameUnits::Groups => "GROUPS",
        };
        if units != FrameUnits::Range {
            let rows = self.coerce_implicit(bound, TypeOid::INT8.into(), offset.span())?;
            return self.constant_offset(rows, clause, offset.span());
        }
        let [key] = order_by else {
            let error = Error::new(
                SqlState::WindowingError,
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
            );
            return Err(self.source.locate(error, offset.span()));
        };
        let to = match key.expr.ty.oid {
            TypeOid::DATE | TypeOid::TIMESTAMP | TypeOid::TIMESTAMPTZ | TypeOid::TIME | TypeOid::INTERVAL => {
                TypeOid::INTERVAL
            }
            oid => oid,
        };
        let distance = self.coerce_implicit(bound, to.into(), offset.span())?;
        self.constant_offset(distance, clause, offset.span())
    }

    /// 42P10 if an expression names columns of the query that it belongs to.
    pub(super) fn refuse_own_columns(&self, expr: &ScalarExpr, clause: &str, span: Span) -> Result<()> {
        let mut free = HashSet::new();
        expr.free_columns(&mut free);
        let own = self.scopes.last().into_iter();
        let mut own = own.flat_map(|s| s.relations.iter().flat_map(|r| &r.columns).chain(&s.merged));
        if own.any(|column| free.contains(&column.id)) {
            let message = format!("argument of {clause} must not contain variables");
            return Err(self.source.locate(Error::new(SqlState::InvalidColumnReference, message), span));
        }
        Ok(())
    }

    /// An offset of a frame is the same for all rows; its subqueries run before.
    fn constant_offset(&mut self, offset: ScalarExpr, clause: &'static str, span: Span) -> Result<ScalarExpr> {
        self.refuse_own_columns(&offset, clause, span)?;
        let mut free = HashSet::new();
        offset.free_columns(&mut free);
        match free.is_empty() {
            true => self.before(offset, clause),
            false => Err(Error::unsupported("a frame's offset that depends on the query around it")),
        }
    }
}
