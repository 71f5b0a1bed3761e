"""`report.html`: what preparing found, kept and dropped, on one page that needs nothing else."""

from rapgen.data.report.facts import ClipFacts, Dropped, Listen, ReportFacts, Step
from rapgen.data.report.page import render_report

__all__ = ["ClipFacts", "Dropped", "Listen", "ReportFacts", "Step", "render_report"]
