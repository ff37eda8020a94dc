"""The runnable half of the handbook: a package a chapter, executed when the site is built."""

from serving_mathematics.support.telemetry import switch_off_telemetry

switch_off_telemetry()  # before any module imports what it is for
