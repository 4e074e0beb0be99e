-- The tables of a token in PostgreSQL (store = postgresql://...), and the role that the module uses.
-- Run it as the owner-to-be of the tables, who is not that role, once for each token:
--
--   psql -v schema=indexkey -v role=indexkey_app -d DATABASE -f postgresql.sql
--
-- The role is there already:  CREATE ROLE indexkey_app LOGIN PASSWORD '...';
-- It may read and change the rows of these tables, and nothing else. Several tokens may share a
-- database: each has a schema of its own, and a role of its own if they are not to see one another.
-- A second run gives rights to a further role, and brings the tables of an older version to this
-- one; newer versions of the module say when that is due. It may run while the token is in use.
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS :"schema";
REVOKE ALL ON SCHEMA :"schema" FROM PUBLIC;
SET LOCAL search_path = :"schema";

CREATE TABLE IF NOT EXISTS store (
    one boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one),
    version integer NOT NULL,
    changes bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS record (
    name text COLLATE "C" NOT NULL PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 16),
    version bigint NOT NULL CHECK (version > 0),
    bytes bytea NOT NULL CHECK (octet_length(bytes) <= 1048576)
);
CREATE TABLE IF NOT EXISTS object (
    id bytea NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    version bigint NOT NULL CHECK (version > 0),
    attributes bytea NOT NULL CHECK (octet_length(attributes) <= 1048576),
    value bytea NOT NULL CHECK (octet_length(value) <= 1048576)
);
CREATE TABLE IF NOT EXISTS recent (
    slot integer NOT NULL PRIMARY KEY CHECK (slot >= 0 AND slot < 65536),
    id bytea NOT NULL CHECK (octet_length(id) = 16)
);
INSERT INTO store (version, changes) VALUES (2, 0) ON CONFLICT DO NOTHING;

-- Version 2: the turn in which a row was written last or removed. The update of "store" waits for
-- who commits now and keeps off the others until the end, before the other tables are locked.
UPDATE store SET version = greatest(version, 2),
    changes = changes + CASE version WHEN 1 THEN 10001 ELSE 0 END;
ALTER TABLE object ADD COLUMN IF NOT EXISTS turn bigint NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS object_turn ON object (turn);
CREATE TABLE IF NOT EXISTS removed (
    id bytea NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    turn bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS removed_turn ON removed (turn);

GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON record, object, recent, removed TO :"role";
-- Not the version: that is the owner's.
GRANT SELECT, UPDATE (changes) ON store TO :"role";
COMMIT;
