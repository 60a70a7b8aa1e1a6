-- A merchant lists its own payments, newest first.
CREATE INDEX payments_by_merchant ON payments (merchant_id, created_at);
