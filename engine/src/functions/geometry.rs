//! Functions and operators of point, lseg, box, line, path, polygon and circle; what they compute is in [`relations`].

mod relations;

use std::f64::consts::PI;

use super::args;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::geometry::{Circle, Line, Lseg, Path, Point, Polygon, Rectangle, Shape};
use crate::types::plane::{
    at_least, at_most, difference, distance, greater, hypotenuse, inverse_slope, is_zero, larger, less, line_through,
    near, product, quotient, same_point, slope, smaller, sum,
};
use relations::*;

/// What a function takes.
trait Argument: Sized {
    fn take(arg: Option<&Datum>) -> Result<Self>;
}

/// What a function gives.
trait Answer {
    fn datum(self) -> Datum;
}

macro_rules! shapes {
    ($($shape:ty),*) => { $(
        impl Argument for $shape {
            fn take(arg: Option<&Datum>) -> Result<Self> {
                <$shape>::decode(args::bytea(arg)?)
                    .ok_or_else(|| Error::internal(concat!("bytes that are no ", stringify!($shape))))
            }
        }
        impl Answer for $shape {
            fn datum(self) -> Datum {
                self.encode()
            }
        }
    )* };
}

shapes!(Point, Lseg, Rectangle, Line, Circle, Path, Polygon);

impl Argument for f64 {
    fn take(arg: Option<&Datum>) -> Result<f64> {
        args::float8(arg)
    }
}

impl Argument for i32 {
    fn take(arg: Option<&Datum>) -> Result<i32> {
        args::int4(arg)
    }
}

impl Answer for f64 {
    fn datum(self) -> Datum {
        Datum::Float8(self)
    }
}

impl Answer for bool {
    fn datum(self) -> Datum {
        Datum::Bool(self)
    }
}

impl Answer for i32 {
    fn datum(self) -> Datum {
        Datum::Int4(self)
    }
}

impl<T: Answer> Answer for Option<T> {
    fn datum(self) -> Datum {
        self.map_or(Datum::Null, T::datum)
    }
}

/// A row function of shapes whose body is a `Result` of an [`Answer`].
macro_rules! of {
    (|$a:ident: $ta:ty| $body:expr) => {
        |_, args| {
            let $a = <$ta>::take(args.first())?;
            Answers(|| $body).datum()
        }
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty| $body:expr) => {
        |_, args| {
            let ($a, $b) = (<$ta>::take(args.first())?, <$tb>::take(args.get(1))?);
            Answers(|| $body).datum()
        }
    };
}

/// A body with its own `?`.
struct Answers<F>(F);

impl<T: Answer, F: FnOnce() -> Result<T>> Answers<F> {
    fn datum(self) -> Result<Datum> {
        (self.0)().map(T::datum)
    }
}

pub(super) fn register(implementations: &mut Implementations) {
    points(implementations);
    lines(implementations);
    boxes(implementations);
    paths(implementations);
    polygons(implementations);
    circles(implementations);
    distances(implementations);
    for symbol in ["point_send", "lseg_send", "box_send", "line_send", "path_send", "poly_send", "circle_send"] {
        implementations.scalar(symbol, |_, args| args::any(args.first()).cloned());
    }
}

fn moved(a: Point, by: Point) -> Result<Point> {
    Ok(Point::new(sum(a.x, by.x)?, sum(a.y, by.y)?))
}

fn moved_back(a: Point, by: Point) -> Result<Point> {
    Ok(Point::new(difference(a.x, by.x)?, difference(a.y, by.y)?))
}

/// The product of complex numbers: turned and stretched.
fn turned(a: Point, by: Point) -> Result<Point> {
    Ok(Point::new(
        difference(product(a.x, by.x)?, product(a.y, by.y)?)?,
        sum(product(a.x, by.y)?, product(a.y, by.x)?)?,
    ))
}

fn turned_back(a: Point, by: Point) -> Result<Point> {
    let square = sum(product(by.x, by.x)?, product(by.y, by.y)?)?;
    Ok(Point::new(
        quotient(sum(product(a.x, by.x)?, product(a.y, by.y)?)?, square)?,
        quotient(difference(product(a.y, by.x)?, product(a.x, by.y)?)?, square)?,
    ))
}

fn points(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("construct_point", of!(|x: f64, y: f64| Ok(Point::new(x, y)))),
        ("point_left", of!(|a: Point, b: Point| Ok(less(a.x, b.x)))),
        ("point_right", of!(|a: Point, b: Point| Ok(greater(a.x, b.x)))),
        ("point_above", of!(|a: Point, b: Point| Ok(greater(a.y, b.y)))),
        ("point_below", of!(|a: Point, b: Point| Ok(less(a.y, b.y)))),
        ("point_vert", of!(|a: Point, b: Point| Ok(near(a.x, b.x)))),
        ("point_horiz", of!(|a: Point, b: Point| Ok(near(a.y, b.y)))),
        ("point_eq", of!(|a: Point, b: Point| Ok(same_point(a, b)))),
        ("point_ne", of!(|a: Point, b: Point| Ok(!same_point(a, b)))),
        ("point_slope", of!(|a: Point, b: Point| slope(a, b))),
        ("point_add", of!(|a: Point, b: Point| moved(a, b))),
        ("point_sub", of!(|a: Point, b: Point| moved_back(a, b))),
        ("point_mul", of!(|a: Point, b: Point| turned(a, b))),
        ("point_div", of!(|a: Point, b: Point| turned_back(a, b))),
        ("point_box", of!(|a: Point| Ok(Rectangle { high: a, low: a }))),
        ("points_box", of!(|a: Point, b: Point| Ok(Rectangle::of(a, b)))),
    ]);
}

fn length(s: Lseg) -> Result<f64> {
    distance(s.0, s.1)
}

fn lines(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("lseg_construct", of!(|a: Point, b: Point| Ok(Lseg(a, b)))),
        ("lseg_length", of!(|s: Lseg| length(s))),
        ("lseg_center", of!(|s: Lseg| middle(s.0, s.1))),
        ("lseg_intersect", of!(|a: Lseg, b: Lseg| Ok(lsegs_meet(a, b)?.is_some()))),
        ("lseg_interpt", of!(|a: Lseg, b: Lseg| lsegs_meet(a, b))),
        ("lseg_parallel", of!(|a: Lseg, b: Lseg| Ok(near(slope(a.0, a.1)?, slope(b.0, b.1)?)))),
        ("lseg_perp", of!(|a: Lseg, b: Lseg| Ok(near(slope(a.0, a.1)?, inverse_slope(b.0, b.1)?)))),
        ("lseg_vertical", of!(|s: Lseg| Ok(near(s.0.x, s.1.x)))),
        ("lseg_horizontal", of!(|s: Lseg| Ok(near(s.0.y, s.1.y)))),
        ("lseg_eq", of!(|a: Lseg, b: Lseg| Ok(same_point(a.0, b.0) && same_point(a.1, b.1)))),
        ("lseg_ne", of!(|a: Lseg, b: Lseg| Ok(!same_point(a.0, b.0) || !same_point(a.1, b.1)))),
        ("lseg_lt", of!(|a: Lseg, b: Lseg| Ok(less(length(a)?, length(b)?)))),
        ("lseg_le", of!(|a: Lseg, b: Lseg| Ok(at_most(length(a)?, length(b)?)))),
        ("lseg_gt", of!(|a: Lseg, b: Lseg| Ok(greater(length(a)?, length(b)?)))),
        ("lseg_ge", of!(|a: Lseg, b: Lseg| Ok(at_least(length(a)?, length(b)?)))),
        ("on_ps", of!(|p: Point, s: Lseg| lseg_has(s, p))),
        (
            "line_construct_pp",
            of!(|a: Point, b: Point| {
                if same_point(a, b) {
                    return Err(invalid_parameter("invalid line specification: must be two distinct points"));
                }
                line_through(a, b)
            }),
        ),
        ("line_intersect", of!(|a: Line, b: Line| Ok(lines_meet(&a, &b)?.is_some()))),
        ("line_interpt", of!(|a: Line, b: Line| lines_meet(&a, &b))),
        ("line_parallel", of!(|a: Line, b: Line| Ok(lines_meet(&a, &b)?.is_none()))),
        ("line_perp", of!(|a: Line, b: Line| lines_perpendicular(&a, &b))),
        ("line_vertical", of!(|l: Line| Ok(is_zero(l.b)))),
        ("line_horizontal", of!(|l: Line| Ok(is_zero(l.a)))),
        ("line_eq", of!(|a: Line, b: Line| same_line(&a, &b))),
        ("on_pl", of!(|p: Point, l: Line| line_has(&l, p))),
        ("on_sl", of!(|s: Lseg, l: Line| Ok(line_has(&l, s.0)? && line_has(&l, s.1)?))),
        ("inter_sl", of!(|s: Lseg, l: Line| Ok(lseg_meets_line(s, &l)?.is_some()))),
        ("inter_sb", of!(|s: Lseg, b: Rectangle| box_meets_lseg(&b, s))),
        ("inter_lb", of!(|l: Line, b: Rectangle| line_meets_box(&l, &b))),
    ]);
}

fn mapped(b: &Rectangle, with: impl Fn(Point) -> Result<Point>) -> Result<Rectangle> {
    Ok(Rectangle { high: with(b.high)?, low: with(b.low)? })
}

fn boxes(implementations: &mut Implementations) {
    type B = Rectangle;
    implementations.scalars(&[
        ("box_same", of!(|a: B, b: B| Ok(same_point(a.high, b.high) && same_point(a.low, b.low)))),
        ("box_overlap", of!(|a: B, b: B| Ok(boxes_overlap(&a, &b)))),
        ("box_left", of!(|a: B, b: B| Ok(less(a.high.x, b.low.x)))),
        ("box_overleft", of!(|a: B, b: B| Ok(at_most(a.high.x, b.high.x)))),
        ("box_right", of!(|a: B, b: B| Ok(greater(a.low.x, b.high.x)))),
        ("box_overright", of!(|a: B, b: B| Ok(at_least(a.low.x, b.low.x)))),
        ("box_below", of!(|a: B, b: B| Ok(less(a.high.y, b.low.y)))),
        ("box_overbelow", of!(|a: B, b: B| Ok(at_most(a.high.y, b.high.y)))),
        ("box_above", of!(|a: B, b: B| Ok(greater(a.low.y, b.high.y)))),
        ("box_overabove", of!(|a: B, b: B| Ok(at_least(a.low.y, b.low.y)))),
        ("box_below_eq", of!(|a: B, b: B| Ok(at_most(a.high.y, b.low.y)))),
        ("box_above_eq", of!(|a: B, b: B| Ok(at_least(a.low.y, b.high.y)))),
        ("box_contain", of!(|a: B, b: B| Ok(box_has_box(&a, &b)))),
        ("box_contained", of!(|a: B, b: B| Ok(box_has_box(&b, &a)))),
        ("box_contain_pt", of!(|a: B, p: Point| Ok(box_has(&a, p)))),
        ("on_pb", of!(|p: Point, b: B| Ok(box_has(&b, p)))),
        ("on_sb", of!(|s: Lseg, b: B| Ok(box_has(&b, s.0) && box_has(&b, s.1)))),
        ("box_lt", of!(|a: B, b: B| Ok(less(box_area(&a)?, box_area(&b)?)))),
        ("box_le", of!(|a: B, b: B| Ok(at_most(box_area(&a)?, box_area(&b)?)))),
        ("box_eq", of!(|a: B, b: B| Ok(near(box_area(&a)?, box_area(&b)?)))),
        ("box_ge", of!(|a: B, b: B| Ok(at_least(box_area(&a)?, box_area(&b)?)))),
        ("box_gt", of!(|a: B, b: B| Ok(greater(box_area(&a)?, box_area(&b)?)))),
        ("box_area", of!(|a: B| box_area(&a))),
        ("box_width", of!(|a: B| width(&a))),
        ("box_height", of!(|a: B| height(&a))),
        ("box_center", of!(|a: B| middle(a.high, a.low))),
        ("box_diagonal", of!(|a: B| Ok(Lseg(a.high, a.low)))),
        (
            "box_intersect",
            of!(|a: B, b: B| {
                Ok(boxes_overlap(&a, &b).then(|| B {
                    high: Point::new(smaller(a.high.x, b.high.x), smaller(a.high.y, b.high.y)),
                    low: Point::new(larger(a.low.x, b.low.x), larger(a.low.y, b.low.y)),
                }))
            }),
        ),
        (
            "boxes_bound_box",
            of!(|a: B, b: B| {
                Ok(B {
                    high: Point::new(larger(a.high.x, b.high.x), larger(a.high.y, b.high.y)),
                    low: Point::new(smaller(a.low.x, b.low.x), smaller(a.low.y, b.low.y)),
                })
            }),
        ),
        ("box_add", of!(|a: B, p: Point| mapped(&a, |corner| moved(corner, p)))),
        ("box_sub", of!(|a: B, p: Point| mapped(&a, |corner| moved_back(corner, p)))),
        ("box_mul", of!(|a: B, p: Point| Ok(B::of(turned(a.high, p)?, turned(a.low, p)?)))),
        ("box_div", of!(|a: B, p: Point| Ok(B::of(turned_back(a.high, p)?, turned_back(a.low, p)?)))),
        (
            "box_poly",
            of!(|a: B| {
                let (upper_left, lower_right) = (Point::new(a.low.x, a.high.y), Point::new(a.high.x, a.low.y));
                Ok(Polygon { points: vec![a.low, upper_left, a.high, lower_right] })
            }),
        ),
        (
            "box_circle",
            of!(|a: B| {
                let center = middle(a.high, a.low)?;
                Ok(Circle { center, radius: distance(center, a.high)? })
            }),
        ),
    ]);
}

fn with_points(path: Path, with: impl Fn(Point) -> Result<Point>) -> Result<Path> {
    let points = path.points.into_iter().map(with).collect::<Result<_>>()?;
    Ok(Path { points, ..path })
}

fn paths(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("path_area", of!(|p: Path| path_area(&p))),
        ("path_length", of!(|p: Path| path_length(&p))),
        ("path_npoints", of!(|p: Path| Ok(p.points.len() as i32))),
        ("path_isclosed", of!(|p: Path| Ok(p.closed))),
        ("path_isopen", of!(|p: Path| Ok(!p.closed))),
        ("path_close", of!(|p: Path| Ok(Path { closed: true, ..p }))),
        ("path_open", of!(|p: Path| Ok(Path { closed: false, ..p }))),
        ("path_inter", of!(|a: Path, b: Path| paths_meet(&a, &b))),
        ("path_n_lt", of!(|a: Path, b: Path| Ok(a.points.len() < b.points.len()))),
        ("path_n_le", of!(|a: Path, b: Path| Ok(a.points.len() <= b.points.len()))),
        ("path_n_eq", of!(|a: Path, b: Path| Ok(a.points.len() == b.points.len()))),
        ("path_n_ge", of!(|a: Path, b: Path| Ok(a.points.len() >= b.points.len()))),
        ("path_n_gt", of!(|a: Path, b: Path| Ok(a.points.len() > b.points.len()))),
        (
            "path_add",
            of!(|a: Path, b: Path| {
                let open = !a.closed && !b.closed;
                Ok(open.then(|| Path { closed: false, points: [a.points, b.points].concat() }))
            }),
        ),
        ("path_add_pt", of!(|a: Path, p: Point| with_points(a, |point| moved(point, p)))),
        ("path_sub_pt", of!(|a: Path, p: Point| with_points(a, |point| moved_back(point, p)))),
        ("path_mul_pt", of!(|a: Path, p: Point| with_points(a, |point| turned(point, p)))),
        ("path_div_pt", of!(|a: Path, p: Point| with_points(a, |point| turned_back(point, p)))),
        ("on_ppath", of!(|p: Point, path: Path| path_has(&path, p))),
        ("#1426", of!(|path: Path, p: Point| path_has(&path, p))),
        (
            "path_poly",
            of!(|p: Path| {
                if !p.closed {
                    return Err(invalid_parameter("open path cannot be converted to polygon"));
                }
                Ok(Polygon { points: p.points })
            }),
        ),
    ]);
}

/// The polygon of so many points on a circle.
fn on_circle(count: i32, circle: &Circle) -> Result<Polygon> {
    if is_zero(circle.radius) {
        return Err(Error::new(SqlState::FeatureNotSupported, "cannot convert circle with radius zero to polygon"));
    }
    if count < 2 {
        return Err(invalid_parameter("must request at least 2 points"));
    }
    if count as usize >= (i32::MAX as usize - 40) / 16 {
        return Err(Error::new(SqlState::ProgramLimitExceeded, "too many points requested"));
    }
    let step = quotient(2.0 * PI, f64::from(count))?;
    let point = |i: i32| {
        let angle = product(step, f64::from(i))?;
        Ok(Point::new(
            difference(circle.center.x, product(circle.radius, angle.cos())?)?,
            sum(circle.center.y, product(circle.radius, angle.sin())?)?,
        ))
    };
    Ok(Polygon { points: (0..count).map(point).collect::<Result<_>>()? })
}

fn polygons(implementations: &mut Implementations) {
    type P = Polygon;
    fn around(p: &P) -> Rectangle {
        bounds(&p.points)
    }
    implementations.scalars(&[
        ("poly_left", of!(|a: P, b: P| Ok(around(&a).high.x < around(&b).low.x))),
        ("poly_overleft", of!(|a: P, b: P| Ok(around(&a).high.x <= around(&b).high.x))),
        ("poly_right", of!(|a: P, b: P| Ok(around(&a).low.x > around(&b).high.x))),
        ("poly_overright", of!(|a: P, b: P| Ok(around(&a).low.x >= around(&b).low.x))),
        ("poly_below", of!(|a: P, b: P| Ok(around(&a).high.y < around(&b).low.y))),
        ("poly_overbelow", of!(|a: P, b: P| Ok(around(&a).high.y <= around(&b).high.y))),
        ("poly_above", of!(|a: P, b: P| Ok(around(&a).low.y > around(&b).high.y))),
        ("poly_overabove", of!(|a: P, b: P| Ok(around(&a).low.y >= around(&b).low.y))),
        ("poly_same", of!(|a: P, b: P| Ok(same_polygon(&a, &b)))),
        ("poly_overlap", of!(|a: P, b: P| polygons_overlap(&a, &b))),
        ("poly_contain", of!(|a: P, b: P| polygon_has_polygon(&a, &b))),
        ("poly_contained", of!(|a: P, b: P| polygon_has_polygon(&b, &a))),
        ("poly_contain_pt", of!(|a: P, p: Point| inside(p, &a.points))),
        ("pt_contained_poly", of!(|p: Point, a: P| inside(p, &a.points))),
        ("poly_npoints", of!(|a: P| Ok(a.points.len() as i32))),
        ("poly_center", of!(|a: P| Ok(polygon_circle(&a)?.center))),
        ("poly_circle", of!(|a: P| polygon_circle(&a))),
        ("poly_box", of!(|a: P| Ok(around(&a)))),
        ("poly_path", of!(|a: P| Ok(Path { closed: true, points: a.points }))),
        ("circle_poly", of!(|count: i32, c: Circle| on_circle(count, &c))),
        ("#1544", of!(|c: Circle| on_circle(12, &c))),
    ]);
}

fn circles(implementations: &mut Implementations) {
    type C = Circle;
    implementations.scalars(&[
        ("cr_circle", of!(|center: Point, radius: f64| Ok(Circle { center, radius }))),
        (
            "circle_same",
            of!(|a: C, b: C| {
                let radius = (a.radius.is_nan() && b.radius.is_nan()) || near(a.radius, b.radius);
                Ok(radius && same_point(a.center, b.center))
            }),
        ),
        ("circle_overlap", of!(|a: C, b: C| Ok(at_most(distance(a.center, b.center)?, sum(a.radius, b.radius)?)))),
        (
            "circle_contain",
            of!(|a: C, b: C| { Ok(at_most(distance(a.center, b.center)?, difference(a.radius, b.radius)?)) }),
        ),
        (
            "circle_contained",
            of!(|a: C, b: C| { Ok(at_most(distance(a.center, b.center)?, difference(b.radius, a.radius)?)) }),
        ),
        ("circle_left", of!(|a: C, b: C| { Ok(less(sum(a.center.x, a.radius)?, difference(b.center.x, b.radius)?)) })),
        ("circle_overleft", of!(|a: C, b: C| { Ok(at_most(sum(a.center.x, a.radius)?, sum(b.center.x, b.radius)?)) })),
        (
            "circle_right",
            of!(|a: C, b: C| { Ok(greater(difference(a.center.x, a.radius)?, sum(b.center.x, b.radius)?)) }),
        ),
        (
            "circle_overright",
            of!(|a: C, b: C| { Ok(at_least(difference(a.center.x, a.radius)?, difference(b.center.x, b.radius)?)) }),
        ),
        ("circle_below", of!(|a: C, b: C| { Ok(less(sum(a.center.y, a.radius)?, difference(b.center.y, b.radius)?)) })),
        ("circle_overbelow", of!(|a: C, b: C| { Ok(at_most(sum(a.center.y, a.radius)?, sum(b.center.y, b.radius)?)) })),
        (
            "circle_above",
            of!(|a: C, b: C| { Ok(greater(difference(a.center.y, a.radius)?, sum(b.center.y, b.radius)?)) }),
        ),
        (
            "circle_overabove",
            of!(|a: C, b: C| { Ok(at_least(difference(a.center.y, a.radius)?, difference(b.center.y, b.radius)?)) }),
        ),
        ("circle_eq", of!(|a: C, b: C| Ok(near(circle_area(&a)?, circle_area(&b)?)))),
        (
            "circle_ne",
            of!(|a: C, b: C| {
                let (a, b) = (circle_area(&a)?, circle_area(&b)?);
                // Not the negation of "equal": NaN is neither.
                Ok(a != b && (less(a, b) || greater(a, b)))
            }),
        ),
        ("circle_lt", of!(|a: C, b: C| Ok(less(circle_area(&a)?, circle_area(&b)?)))),
        ("circle_le", of!(|a: C, b: C| Ok(at_most(circle_area(&a)?, circle_area(&b)?)))),
        ("circle_gt", of!(|a: C, b: C| Ok(greater(circle_area(&a)?, circle_area(&b)?)))),
        ("circle_ge", of!(|a: C, b: C| Ok(at_least(circle_area(&a)?, circle_area(&b)?)))),
        ("circle_add_pt", of!(|c: C, p: Point| Ok(C { center: moved(c.center, p)?, ..c }))),
        ("circle_sub_pt", of!(|c: C, p: Point| Ok(C { center: moved_back(c.center, p)?, ..c }))),
        (
            "circle_mul_pt",
            of!(|c: C, p: Point| {
                Ok(C { center: turned(c.center, p)?, radius: product(c.radius, hypotenuse(p.x, p.y)?)? })
            }),
        ),
        (
            "circle_div_pt",
            of!(|c: C, p: Point| {
                Ok(C { center: turned_back(c.center, p)?, radius: quotient(c.radius, hypotenuse(p.x, p.y)?)? })
            }),
        ),
        ("circle_area", of!(|c: C| circle_area(&c))),
        ("circle_diameter", of!(|c: C| product(c.radius, 2.0))),
        ("circle_radius", of!(|c: C| Ok(c.radius))),
        ("circle_center", of!(|c: C| Ok(c.center))),
        ("circle_contain_pt", of!(|c: C, p: Point| Ok(distance(c.center, p)? <= c.radius))),
        ("pt_contained_circle", of!(|p: Point, c: C| Ok(distance(c.center, p)? <= c.radius))),
        (
            "circle_box",
            of!(|c: C| {
                let delta = quotient(c.radius, 2f64.sqrt())?;
                let delta = Point::new(delta, delta);
                Ok(Rectangle { high: moved(c.center, delta)?, low: moved_back(c.center, delta)? })
            }),
        ),
    ]);
}

/// Where it is closest, unless there is no such point.
fn place((apart, at): Closest) -> Option<Point> {
    (!apart.is_nan()).then_some(at)
}

fn distances(implementations: &mut Implementations) {
    type B = Rectangle;
    implementations.scalars(&[
        ("point_distance", of!(|a: Point, b: Point| distance(a, b))),
        ("line_distance", of!(|a: Line, b: Line| line_distance(&a, &b))),
        ("dist_pl", of!(|p: Point, l: Line| Ok(line_to_point(&l, p)?.0))),
        ("dist_lp", of!(|l: Line, p: Point| Ok(line_to_point(&l, p)?.0))),
        ("dist_ps", of!(|p: Point, s: Lseg| Ok(lseg_to_point(s, p)?.0))),
        ("dist_sp", of!(|s: Lseg, p: Point| Ok(lseg_to_point(s, p)?.0))),
        ("dist_sl", of!(|s: Lseg, l: Line| Ok(lseg_to_line(s, &l)?.0))),
        ("dist_ls", of!(|l: Line, s: Lseg| Ok(lseg_to_line(s, &l)?.0))),
        ("lseg_distance", of!(|a: Lseg, b: Lseg| Ok(lseg_to_lseg(a, b)?.0))),
        ("dist_pb", of!(|p: Point, b: B| Ok(box_to_point(&b, p)?.0))),
        ("dist_bp", of!(|b: B, p: Point| Ok(box_to_point(&b, p)?.0))),
        ("dist_sb", of!(|s: Lseg, b: B| Ok(box_to_lseg(&b, s)?.0))),
        ("dist_bs", of!(|b: B, s: Lseg| Ok(box_to_lseg(&b, s)?.0))),
        ("box_distance", of!(|a: B, b: B| distance(middle(a.high, a.low)?, middle(b.high, b.low)?))),
        ("path_distance", of!(|a: Path, b: Path| path_distance(&a, &b))),
        ("dist_ppath", of!(|p: Point, a: Path| path_to_point(&a, p))),
        ("dist_pathp", of!(|a: Path, p: Point| path_to_point(&a, p))),
        ("poly_distance", of!(|a: Polygon, b: Polygon| polygon_distance(&a, &b))),
        ("dist_ppoly", of!(|p: Point, a: Polygon| polygon_to_point(&a, p))),
        ("dist_polyp", of!(|a: Polygon, p: Point| polygon_to_point(&a, p))),
        ("dist_cpoly", of!(|c: Circle, a: Polygon| outside(polygon_to_point(&a, c.center)?, c.radius))),
        ("dist_polyc", of!(|a: Polygon, c: Circle| outside(polygon_to_point(&a, c.center)?, c.radius))),
        (
            "circle_distance",
            of!(|a: Circle, b: Circle| outside(distance(a.center, b.center)?, sum(a.radius, b.radius)?)),
        ),
        ("dist_pc", of!(|p: Point, c: Circle| outside(distance(p, c.center)?, c.radius))),
        ("dist_cpoint", of!(|c: Circle, p: Point| outside(distance(p, c.center)?, c.radius))),
        ("close_pl", of!(|p: Point, l: Line| Ok(place(line_to_point(&l, p)?)))),
        ("close_ps", of!(|p: Point, s: Lseg| Ok(place(lseg_to_point(s, p)?)))),
        ("close_pb", of!(|p: Point, b: B| Ok(place(box_to_point(&b, p)?)))),
        ("close_sb", of!(|s: Lseg, b: B| Ok(place(box_to_lseg(&b, s)?)))),
        (
            "close_ls",
            of!(|l: Line, s: Lseg| {
                if slope(s.0, s.1)? == line_slope(&l)? {
                    return Ok(None);
                }
                Ok(place(lseg_to_line(s, &l)?))
            }),
        ),
        (
            "close_lseg",
            of!(|a: Lseg, b: Lseg| {
                if slope(a.0, a.1)? == slope(b.0, b.1)? {
                    return Ok(None);
                }
                Ok(place(lseg_to_lseg(b, a)?))
            }),
        ),
    ]);
}
