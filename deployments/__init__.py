"""Splatcast's Ray Serve graph: webcam frames in, Gaussian splats out.

::

    browser ──ws──▶ Ingress ──▶ FrameDecoder ──▶ GaussianInference ──▶ SplatPacker ──▶ Ingress ──ws──▶ browser
    camera          CPU, N         CPU, N           GPU or CPU, N          CPU, N
    viewer          Starlette      bytes → RGB      RGB → Gaussians        Gaussians → bytes

Each deployment is one file and thin; :mod:`deployments.graph` binds them. The pure code they call lives in
:mod:`deployments.frames`, :mod:`deployments.models`, :mod:`deployments.splats` and :mod:`deployments.stream`.
"""
