"""Tests of RestAPI."""
