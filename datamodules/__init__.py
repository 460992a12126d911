"""COCO annotations, samples, batches and the evaluator."""
