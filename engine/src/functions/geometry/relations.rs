//! Where geometric values meet, which lies in which, how near they are and where (geo_ops.c).
//!
//! Invariant: each follows PostgreSQL's order of steps, so that rounding, NaN and overflow come out as there.

use std::f64::consts::PI;

use crate::error::Result;
use crate::types::geometry::{Circle, Line, Lseg, Path, Point, Polygon, Rectangle};
use crate::types::plane::{
    at_least, at_most, difference, distance, exactly_less, greater, inverse_slope, is_zero, larger, less, line_of,
    lseg_line, near, product, quotient, same_point, smaller, sum,
};

/// A distance, and the point that is so near.
pub type Closest = (f64, Point);

/// Keeps the nearer of two.
fn nearer(best: &mut Closest, other: Closest) {
    if exactly_less(other.0, best.0) {
        *best = other;
    }
}

// Lines.

pub fn line_slope(line: &Line) -> Result<f64> {
    if is_zero(line.a) {
        return Ok(0.0);
    }
    if is_zero(line.b) {
        return Ok(f64::INFINITY);
    }
    quotient(line.a, -line.b)
}

fn line_inverse_slope(line: &Line) -> Result<f64> {
    if is_zero(line.a) {
        return Ok(f64::INFINITY);
    }
    if is_zero(line.b) {
        return Ok(0.0);
    }
    quotient(line.b, line.a)
}

/// Where two lines meet; parallel and equal ones do not.
pub fn lines_meet(l1: &Line, l2: &Line) -> Result<Option<Point>> {
    let (first, second) = if !is_zero(l1.b) {
        (l1, l2)
    } else if !is_zero(l2.b) {
        (l2, l1)
    } else {
        return Ok(None);
    };
    if near(second.a, product(first.a, quotient(second.b, first.b)?)?) {
        return Ok(None);
    }
    let above = difference(product(first.b, second.c)?, product(second.b, first.c)?)?;
    let below = difference(product(first.a, second.b)?, product(second.a, first.b)?)?;
    let x = quotient(above, below)?;
    let y = quotient(-sum(product(first.a, x)?, first.c)?, first.b)?;
    let positive = |v: f64| if v == 0.0 { 0.0 } else { v };
    Ok(Some(Point::new(positive(x), positive(y))))
}

pub fn lines_perpendicular(l1: &Line, l2: &Line) -> Result<bool> {
    if is_zero(l1.a) {
        return Ok(is_zero(l2.b));
    }
    if is_zero(l2.a) {
        return Ok(is_zero(l1.b));
    }
    if is_zero(l1.b) {
        return Ok(is_zero(l2.a));
    }
    if is_zero(l2.b) {
        return Ok(is_zero(l1.a));
    }
    Ok(near(quotient(product(l1.a, l2.a)?, product(l1.b, l2.b)?)?, -1.0))
}

pub fn same_line(l1: &Line, l2: &Line) -> Result<bool> {
    let sides = [(l1.a, l2.a), (l1.b, l2.b), (l1.c, l2.c)];
    if sides.iter().any(|(a, b)| a.is_nan() || b.is_nan()) {
        return Ok(sides.iter().all(|(a, b)| crate::types::compare::compare_floats(*a, *b).is_eq()));
    }
    let ratio = match sides.iter().find(|(_, b)| !is_zero(*b)) {
        Some((a, b)) => quotient(*a, *b)?,
        None => 1.0,
    };
    for (a, b) in sides {
        if !near(a, product(ratio, b)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn line_distance(l1: &Line, l2: &Line) -> Result<f64> {
    if lines_meet(l1, l2)?.is_some() {
        return Ok(0.0);
    }
    let usable = |a: f64, b: f64| !is_zero(a) && !a.is_nan() && !is_zero(b) && !b.is_nan();
    let ratio = if usable(l1.a, l2.a) {
        quotient(l1.a, l2.a)?
    } else if usable(l1.b, l2.b) {
        quotient(l1.b, l2.b)?
    } else {
        1.0
    };
    let apart = difference(l1.c, product(ratio, l2.c)?)?.abs();
    quotient(apart, crate::types::plane::hypotenuse(l1.a, l1.b)?)
}

pub fn line_has(line: &Line, point: Point) -> Result<bool> {
    Ok(is_zero(sum(sum(product(line.a, point.x)?, product(line.b, point.y)?)?, line.c)?))
}

/// The foot of the perpendicular; NaN if none was found.
pub fn line_to_point(line: &Line, point: Point) -> Result<Closest> {
    let perpendicular = line_of(point, line_inverse_slope(line)?)?;
    match lines_meet(&perpendicular, line)? {
        Some(foot) => Ok((distance(foot, point)?, foot)),
        None => Ok((f64::NAN, point)),
    }
}

// Segments.

pub fn lseg_has(segment: Lseg, point: Point) -> Result<bool> {
    Ok(near(distance(point, segment.0)? + distance(point, segment.1)?, distance(segment.0, segment.1)?))
}

pub fn lseg_meets_line(segment: Lseg, line: &Line) -> Result<Option<Point>> {
    let Some(at) = lines_meet(&lseg_line(segment)?, line)? else { return Ok(None) };
    if !lseg_has(segment, at)? {
        return Ok(None);
    }
    // An end that is as good as the point, instead of its rounding.
    Ok(Some(if same_point(segment.0, at) {
        segment.0
    } else if same_point(segment.1, at) {
        segment.1
    } else {
        at
    }))
}

pub fn lsegs_meet(s1: Lseg, s2: Lseg) -> Result<Option<Point>> {
    let Some(at) = lseg_meets_line(s1, &lseg_line(s2)?)? else { return Ok(None) };
    Ok(lseg_has(s2, at)?.then_some(at))
}

/// The point of the segment.
pub fn lseg_to_line(segment: Lseg, line: &Line) -> Result<Closest> {
    if let Some(at) = lseg_meets_line(segment, line)? {
        return Ok((0.0, at));
    }
    let (first, second) = (line_to_point(line, segment.0)?.0, line_to_point(line, segment.1)?.0);
    Ok(if first < second { (first, segment.0) } else { (second, segment.1) })
}

/// The point of the segment.
pub fn lseg_to_point(segment: Lseg, point: Point) -> Result<Closest> {
    let perpendicular = line_of(point, inverse_slope(segment.0, segment.1)?)?;
    let closest = lseg_to_line(segment, &perpendicular)?.1;
    Ok((distance(closest, point)?, closest))
}

/// The point of the first segment.
pub fn lseg_to_lseg(on: Lseg, to: Lseg) -> Result<Closest> {
    if let Some(at) = lsegs_meet(on, to)? {
        return Ok((0.0, at));
    }
    let mut best = lseg_to_point(on, to.0)?;
    nearer(&mut best, lseg_to_point(on, to.1)?);
    nearer(&mut best, (lseg_to_point(to, on.0)?.0, on.0));
    nearer(&mut best, (lseg_to_point(to, on.1)?.0, on.1));
    Ok(best)
}

// Boxes.

pub fn width(area: &Rectangle) -> Result<f64> {
    difference(area.high.x, area.low.x)
}

pub fn height(area: &Rectangle) -> Result<f64> {
    difference(area.high.y, area.low.y)
}

pub fn box_area(area: &Rectangle) -> Result<f64> {
    product(width(area)?, height(area)?)
}

pub fn middle(a: Point, b: Point) -> Result<Point> {
    Ok(Point::new(quotient(sum(a.x, b.x)?, 2.0)?, quotient(sum(a.y, b.y)?, 2.0)?))
}

pub fn boxes_overlap(a: &Rectangle, b: &Rectangle) -> bool {
    at_most(a.low.x, b.high.x) && at_most(b.low.x, a.high.x) && at_most(a.low.y, b.high.y) && at_most(b.low.y, a.high.y)
}

pub fn box_has_box(outer: &Rectangle, inner: &Rectangle) -> bool {
    at_least(outer.high.x, inner.high.x)
        && at_most(outer.low.x, inner.low.x)
        && at_least(outer.high.y, inner.high.y)
        && at_most(outer.low.y, inner.low.y)
}

pub fn box_has(area: &Rectangle, point: Point) -> bool {
    area.high.x >= point.x && area.low.x <= point.x && area.high.y >= point.y && area.low.y <= point.y
}

/// Left, top, bottom and right side.
fn sides(area: &Rectangle) -> [Lseg; 4] {
    let upper_left = Point::new(area.low.x, area.high.y);
    let lower_right = Point::new(area.high.x, area.low.y);
    [Lseg(area.low, upper_left), Lseg(area.high, upper_left), Lseg(area.low, lower_right), Lseg(area.high, lower_right)]
}

fn nearest_side(area: &Rectangle, to: impl Fn(Lseg) -> Result<Closest>) -> Result<Closest> {
    let [first, others @ ..] = sides(area);
    let mut best = to(first)?;
    for side in others {
        nearer(&mut best, to(side)?);
    }
    Ok(best)
}

pub fn box_to_point(area: &Rectangle, point: Point) -> Result<Closest> {
    if box_has(area, point) {
        return Ok((0.0, point));
    }
    nearest_side(area, |side| lseg_to_point(side, point))
}

/// Whether they meet; a segment inside does.
pub fn box_meets_lseg(area: &Rectangle, segment: Lseg) -> Result<bool> {
    let around = Rectangle {
        low: Point::new(smaller(segment.0.x, segment.1.x), smaller(segment.0.y, segment.1.y)),
        high: Point::new(larger(segment.0.x, segment.1.x), larger(segment.0.y, segment.1.y)),
    };
    if !boxes_overlap(&around, area) {
        return Ok(false);
    }
    if box_has(area, segment.0) || box_has(area, segment.1) {
        return Ok(true);
    }
    for side in sides(area) {
        if lsegs_meet(side, segment)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn box_to_lseg(area: &Rectangle, segment: Lseg) -> Result<Closest> {
    if box_meets_lseg(area, segment)? {
        let center = middle(area.high, area.low)?;
        return Ok((0.0, lseg_to_point(segment, center)?.1));
    }
    nearest_side(area, |side| lseg_to_lseg(side, segment))
}

pub fn line_meets_box(line: &Line, area: &Rectangle) -> Result<bool> {
    for side in sides(area) {
        if lseg_meets_line(side, line)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

// Rows of points.

/// The smallest box around points.
pub fn bounds(points: &[Point]) -> Rectangle {
    let first = points.first().copied().unwrap_or(Point::new(0.0, 0.0));
    let mut out = Rectangle { high: first, low: first };
    for point in points.iter().skip(1) {
        out.high = Point::new(larger(point.x, out.high.x), larger(point.y, out.high.y));
        out.low = Point::new(smaller(point.x, out.low.x), smaller(point.y, out.low.y));
    }
    out
}

/// The segments between neighbours, the one that closes them first.
fn edges(points: &[Point], closed: bool) -> impl Iterator<Item = Lseg> + Clone {
    let closing = points.last().zip(points.first()).filter(|_| closed).map(|(a, b)| Lseg(*a, *b));
    closing.into_iter().chain(points.windows(2).filter_map(|w| match w {
        [a, b] => Some(Lseg(*a, *b)),
        _ => None,
    }))
}

fn path_edges(path: &Path) -> impl Iterator<Item = Lseg> + Clone {
    edges(&path.points, path.closed)
}

pub fn path_length(path: &Path) -> Result<f64> {
    path_edges(path).try_fold(0.0, |length, edge| sum(length, distance(edge.0, edge.1)?))
}

/// NULL for an open one.
pub fn path_area(path: &Path) -> Result<Option<f64>> {
    if !path.closed {
        return Ok(None);
    }
    let mut area = 0.0;
    let next = path.points.iter().cycle().skip(1);
    for (a, b) in path.points.iter().zip(next) {
        area = sum(area, product(a.x, b.y)?)?;
        area = difference(area, product(a.y, b.x)?)?;
    }
    quotient(area.abs(), 2.0).map(Some)
}

fn any_edges_meet(first: impl Iterator<Item = Lseg>, second: impl Iterator<Item = Lseg> + Clone) -> Result<bool> {
    for a in first {
        for b in second.clone() {
            if lsegs_meet(a, b)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub fn paths_meet(a: &Path, b: &Path) -> Result<bool> {
    Ok(boxes_overlap(&bounds(&a.points), &bounds(&b.points)) && any_edges_meet(path_edges(a), path_edges(b))?)
}

fn nearest_edges(first: impl Iterator<Item = Lseg>, second: impl Iterator<Item = Lseg> + Clone) -> Result<Option<f64>> {
    let mut best: Option<f64> = None;
    for a in first {
        for b in second.clone() {
            let apart = lseg_to_lseg(a, b)?.0;
            if best.is_none_or(|best| exactly_less(apart, best)) {
                best = Some(apart);
            }
        }
    }
    Ok(best)
}

pub fn path_distance(a: &Path, b: &Path) -> Result<Option<f64>> {
    nearest_edges(path_edges(a), path_edges(b))
}

fn nearest_edge(edges: impl Iterator<Item = Lseg>, point: Point) -> Result<f64> {
    let mut best: Option<f64> = None;
    for edge in edges {
        let apart = lseg_to_point(edge, point)?.0;
        if best.is_none_or(|best| exactly_less(apart, best)) {
            best = Some(apart);
        }
    }
    Ok(best.unwrap_or(0.0))
}

pub fn path_to_point(path: &Path, point: Point) -> Result<f64> {
    nearest_edge(path_edges(path), point)
}

/// On an open path, in a closed one.
pub fn path_has(path: &Path, point: Point) -> Result<bool> {
    if path.closed {
        return inside(point, &path.points);
    }
    for edge in path_edges(path) {
        if near(sum(distance(point, edge.0)?, distance(point, edge.1)?)?, distance(edge.0, edge.1)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What an edge adds to the winding of a polygon around the origin; `None`: the origin lies on it.
fn crossing(to: Point, from: Point) -> Result<Option<i32>> {
    let Point { x, y } = to;
    if is_zero(y) {
        if is_zero(x) {
            return Ok(None);
        }
        if greater(x, 0.0) {
            if is_zero(from.y) {
                return Ok(greater(from.x, 0.0).then_some(0));
            }
            return Ok(Some(if less(from.y, 0.0) { 1 } else { -1 }));
        }
        if is_zero(from.y) {
            return Ok(less(from.x, 0.0).then_some(0));
        }
        return Ok(Some(0));
    }
    let direction = if greater(y, 0.0) { 1 } else { -1 };
    if is_zero(from.y) {
        return Ok(Some(if less(from.x, 0.0) { 0 } else { direction }));
    }
    if (direction < 0 && less(from.y, 0.0)) || (direction > 0 && greater(from.y, 0.0)) {
        return Ok(Some(0));
    }
    if at_least(x, 0.0) && greater(from.x, 0.0) {
        return Ok(Some(2 * direction));
    }
    if less(x, 0.0) && at_most(from.x, 0.0) {
        return Ok(Some(0));
    }
    let z = difference(product(difference(x, from.x)?, y)?, product(difference(y, from.y)?, x)?)?;
    if is_zero(z) {
        return Ok(None);
    }
    let beside = (direction < 0 && less(z, 0.0)) || (direction > 0 && greater(z, 0.0));
    Ok(Some(if beside { 0 } else { 2 * direction }))
}

/// Whether a polygon of these points has the point inside or on an edge.
pub fn inside(point: Point, points: &[Point]) -> Result<bool> {
    let relative =
        |p: &Point| -> Result<Point> { Ok(Point::new(difference(p.x, point.x)?, difference(p.y, point.y)?)) };
    let Some(first) = points.first() else { return Ok(false) };
    let first = relative(first)?;
    let (mut before, mut total) = (first, 0);
    for next in points.iter().skip(1) {
        let next = relative(next)?;
        match crossing(next, before)? {
            None => return Ok(true),
            Some(cross) => total += cross,
        }
        before = next;
    }
    Ok(crossing(first, before)?.is_none_or(|cross| total + cross != 0))
}

// Polygons.

pub fn polygon_to_point(polygon: &Polygon, point: Point) -> Result<f64> {
    if inside(point, &polygon.points)? {
        return Ok(0.0);
    }
    // The closing edge the other way round, as PostgreSQL has it.
    let closing = polygon.points.first().zip(polygon.points.last()).map(|(a, b)| Lseg(*a, *b));
    nearest_edge(closing.into_iter().chain(edges(&polygon.points, false)), point)
}

pub fn polygons_overlap(a: &Polygon, b: &Polygon) -> Result<bool> {
    let (Some(first_a), Some(first_b)) = (a.points.first(), b.points.first()) else { return Ok(false) };
    if !boxes_overlap(&bounds(&a.points), &bounds(&b.points)) {
        return Ok(false);
    }
    Ok(any_edges_meet(edges(&a.points, true), edges(&b.points, true))?
        || inside(*first_a, &b.points)?
        || inside(*first_b, &a.points)?)
}

pub fn polygon_distance(a: &Polygon, b: &Polygon) -> Result<Option<f64>> {
    if polygons_overlap(a, b)? {
        return Ok(Some(0.0));
    }
    nearest_edges(edges(&a.points, true), edges(&b.points, true))
}

/// How often a segment may be cut by the edges of a polygon before it is given up.
const CUTS_MAX: usize = 500;

/// `from` lies on an edge and `to` does not: whether what the edge leaves of the segment is inside.
fn touching_inside(from: Point, to: Point, edge: Lseg, points: &[Point], start: usize, depth: usize) -> Result<bool> {
    let segment = Lseg(from, to);
    let end = if same_point(from, edge.0) {
        lseg_has(segment, edge.1)?.then_some(edge.1)
    } else if same_point(from, edge.1) {
        lseg_has(segment, edge.0)?.then_some(edge.0)
    } else if lseg_has(segment, edge.0)? {
        Some(edge.0)
    } else {
        lseg_has(segment, edge.1)?.then_some(edge.1)
    };
    match end {
        Some(end) => lseg_inside(to, end, points, start, depth),
        None => Ok(true),
    }
}

/// Whether a segment lies in a polygon, as far as the edges from `start` on say.
fn lseg_inside(a: Point, b: Point, points: &[Point], start: usize, depth: usize) -> Result<bool> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(crate::error::Error::new(
            crate::error::SqlState::StatementTooComplex,
            "stack depth limit exceeded",
        ));
    };
    let segment = Lseg(a, b);
    let mut cut = false;
    let before = if start == 0 { points.last() } else { points.get(start - 1) };
    let Some(mut before) = before.copied() else { return Ok(true) };
    for (i, next) in points.iter().enumerate().skip(start) {
        let edge = Lseg(before, *next);
        let within = if lseg_has(edge, a)? {
            if lseg_has(edge, b)? {
                return Ok(true);
            }
            touching_inside(a, b, edge, points, i + 1, depth)?
        } else if lseg_has(edge, b)? {
            touching_inside(b, a, edge, points, i + 1, depth)?
        } else if let Some(at) = lsegs_meet(segment, edge)? {
            cut = true;
            lseg_inside(a, at, points, i + 1, depth)? && lseg_inside(b, at, points, i + 1, depth)?
        } else {
            true
        };
        if !within {
            return Ok(false);
        }
        before = *next;
    }
    if cut {
        return Ok(true);
    }
    inside(middle(a, b)?, points)
}

pub fn polygon_has_polygon(outer: &Polygon, inner: &Polygon) -> Result<bool> {
    if !box_has_box(&bounds(&outer.points), &bounds(&inner.points)) {
        return Ok(false);
    }
    for edge in edges(&inner.points, true) {
        if !lseg_inside(edge.0, edge.1, &outer.points, 0, CUTS_MAX)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same points, from whichever they begin and in either direction.
pub fn same_polygon(a: &Polygon, b: &Polygon) -> bool {
    let count = a.points.len();
    if count != b.points.len() {
        return false;
    }
    let Some(first) = a.points.first() else { return true };
    let matches = |start: usize, forwards: bool| {
        a.points.iter().enumerate().skip(1).all(|(i, point)| {
            let at = if forwards { start + i } else { start + count - i } % count;
            b.points.get(at).is_some_and(|other| same_point(*other, *point))
        })
    };
    b.points
        .iter()
        .enumerate()
        .any(|(start, other)| same_point(*other, *first) && (matches(start, true) || matches(start, false)))
}

/// Around the mean of the points, by their mean distance from it.
pub fn polygon_circle(polygon: &Polygon) -> Result<Circle> {
    let count = polygon.points.len() as f64;
    let mut center = Point::new(0.0, 0.0);
    for point in &polygon.points {
        center = Point::new(sum(center.x, point.x)?, sum(center.y, point.y)?);
    }
    let center = Point::new(quotient(center.x, count)?, quotient(center.y, count)?);
    let total = polygon.points.iter().try_fold(0.0, |r, point| sum(r, distance(*point, center)?))?;
    Ok(Circle { center, radius: quotient(total, count)? })
}

// Circles.

pub fn circle_area(circle: &Circle) -> Result<f64> {
    product(product(circle.radius, circle.radius)?, PI)
}

pub fn outside(apart: f64, radius: f64) -> Result<f64> {
    let apart = difference(apart, radius)?;
    Ok(if apart < 0.0 { 0.0 } else { apart })
}
