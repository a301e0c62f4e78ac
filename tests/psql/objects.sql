CREATE SCHEMA shop;
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE DOMAIN positive AS integer DEFAULT 1 NOT NULL CHECK (VALUE > 0);
CREATE SEQUENCE ticket START 100 INCREMENT 5;
CREATE TABLE customer (
    id serial PRIMARY KEY,
    email varchar(200) NOT NULL UNIQUE,
    name text DEFAULT 'nobody',
    balance numeric(12, 2) DEFAULT 0 CHECK (balance >= 0),
    created timestamptz DEFAULT now(),
    doc jsonb,
    tags text[],
    code char(3),
    feeling mood DEFAULT 'calm',
    score positive,
    twice integer GENERATED ALWAYS AS (id * 2) STORED
);
CREATE TABLE shop.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customer (id) ON DELETE CASCADE,
    total numeric NOT NULL,
    note text,
    CONSTRAINT orders_note_once UNIQUE (customer_id, note)
);
CREATE TABLE shop.part (
    order_id bigint REFERENCES shop.orders ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    number smallint DEFAULT 1 + 1,
    CONSTRAINT part_number_in_range CHECK (number BETWEEN 1 AND 99)
);
CREATE INDEX orders_total_index ON shop.orders (total DESC NULLS LAST) WHERE total > 0;
CREATE UNIQUE INDEX orders_note_index ON shop.orders (lower(note), total) INCLUDE (customer_id);
CREATE VIEW rich AS SELECT c.id, c.email, sum(o.total) AS total FROM customer c JOIN shop.orders o ON o.customer_id = c.id GROUP BY c.id, c.email HAVING sum(o.total) > 100;
CREATE VIEW shop.notes AS SELECT id, note FROM shop.orders WHERE note IS NOT NULL ORDER BY id;
COMMENT ON TABLE customer IS 'who buys';
COMMENT ON COLUMN customer.email IS 'where bills go';
COMMENT ON VIEW rich IS 'those with large orders';
COMMENT ON SCHEMA shop IS 'what is sold';
COMMENT ON CONSTRAINT part_number_in_range ON shop.part IS 'two digits';
INSERT INTO customer (email) VALUES ('ann@example.org'), ('bob@example.org');
INSERT INTO shop.orders (customer_id, total) VALUES (1, 120), (2, 7);
