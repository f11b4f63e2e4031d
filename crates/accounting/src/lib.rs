//! Accounts for what is uploaded: each upload ends in exactly one outcome, and the ledger says what the store holds.
