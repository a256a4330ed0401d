"""Emulators inside other programs: parts as networks (ONNX, AOTInductor), responses as tables."""
