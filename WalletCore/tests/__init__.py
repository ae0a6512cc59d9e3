"""Tests of WalletCore."""
