CREATE SCHEMA sales;
CREATE TABLE sales.regions (id int PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO sales.regions VALUES (1, 'North'), (2, 'East'), (3, 'South'), (4, 'West');
CREATE TABLE sales.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    placed timestamptz NOT NULL,
    region int NOT NULL REFERENCES sales.regions,
    product varchar(40) NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    amount numeric(12, 2) NOT NULL,
    paid boolean NOT NULL DEFAULT false,
    tags text[],
    details jsonb
);
INSERT INTO sales.orders (placed, region, product, quantity, amount, paid, tags, details)
SELECT timestamptz '2026-01-01 00:00+00' + g * interval '7 minutes', 1 + (g * 7 % 11) % 4,
       (ARRAY['lamp', 'chair', 'desk', 'shelf', 'sofa'])[1 + floor(sqrt(g % 25))::int], 1 + g % 9,
       round((((g * 37) % 5000) / 100.0 + 5)::numeric * (1 + g % 9), 2), g % 3 <> 0, ARRAY['t' || g % 4],
       jsonb_build_object('n', g)
FROM generate_series(1, 60000) AS g;
CREATE VIEW sales.by_day AS
SELECT date_trunc('day', placed) AS day, r.name AS region, sum(amount) AS amount, count(*) AS orders
FROM sales.orders AS o JOIN sales.regions AS r ON r.id = o.region GROUP BY 1, 2;
COMMENT ON TABLE sales.orders IS 'what was sold';
COMMENT ON COLUMN sales.orders.amount IS 'with tax';
ANALYZE;
