-- Reads emails. ARGV: ids. Returns a record for each, its fields false where there is no such email.

return records(ARGV)
