"""`report.html`: what preparing found, kept and dropped, on one page that needs nothing else."""

from rapgen.data.report.facts import ClipFacts, Dropped, Listen, ReportFacts, Step

__all__ = ["ClipFacts", "Dropped", "Listen", "ReportFacts", "Step"]
