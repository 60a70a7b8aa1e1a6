-- Payments and their double-entry ledger. What must never be is refused here, whoever asks for it, by hand too: an entry
-- that does not balance, a change to what was booked, and anything booked twice.

CREATE TABLE payments (
    id          text PRIMARY KEY,
    order_id    text NOT NULL,
    merchant_id text NOT NULL,
    method      text NOT NULL CHECK (method IN ('card', 'deposit')),
    -- `returned`: the money came when it was expected no more, and went back.
    state       text NOT NULL
                CHECK (state IN ('pending', 'approved', 'declined', 'cancelled', 'refunded', 'returned')),
    -- Called off before it was opened.
    void        boolean NOT NULL CHECK (NOT void OR state IN ('cancelled', 'returned')),
    -- Minor units.
    amount      bigint NOT NULL CHECK (amount >= 0),
    currency    char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    reason      text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX payments_by_time ON payments (created_at);

-- How often a charge was tried; a test card may fail for a while.
CREATE TABLE attempts (
    payment_id text PRIMARY KEY,
    count      integer NOT NULL,
    first_at   timestamptz NOT NULL
);

CREATE TABLE entries (
    payment_id text NOT NULL REFERENCES payments,
    kind       text NOT NULL CHECK (kind IN ('charge', 'deposit', 'refund')),
    at         timestamptz NOT NULL,
    PRIMARY KEY (payment_id, kind)
);

-- Debits are positive, credits negative, in minor units.
CREATE TABLE postings (
    payment_id text NOT NULL,
    kind       text NOT NULL,
    number     smallint NOT NULL,
    account    text NOT NULL,
    amount     bigint NOT NULL,
    currency   char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (payment_id, kind, number),
    FOREIGN KEY (payment_id, kind) REFERENCES entries
);

-- Asked of entries as well, for one without postings would be asked nothing. Asked at the commit, for until then an entry
-- is being written. Transactions side by side cannot unbalance an entry together: none sees what the other has not
-- committed, so each must add postings that balance by themselves.
CREATE FUNCTION demand_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM postings WHERE payment_id = NEW.payment_id AND kind = NEW.kind) < 2 THEN
        RAISE EXCEPTION 'the % entry of % has fewer than two postings', NEW.kind, NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT FROM postings WHERE payment_id = NEW.payment_id AND kind = NEW.kind
        GROUP BY currency HAVING sum(amount) <> 0
    ) THEN
        RAISE EXCEPTION 'the % entry of % does not balance', NEW.kind, NEW.payment_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is only ever added to: no % of %', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;

-- The tables that are asked are those made here: a temporary one of the same name would come first otherwise.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION demand_balance() SET search_path = %I, pg_temp', current_schema());
END
$$;

CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION demand_balance();
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON postings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION demand_balance();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Also in a session that replays a replica's changes.
ALTER TABLE entries ENABLE ALWAYS TRIGGER balanced, ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE postings ENABLE ALWAYS TRIGGER balanced, ENABLE ALWAYS TRIGGER append_only;
