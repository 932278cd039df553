"""Splatcast's Ray Serve graph: webcam frames in, Gaussian splats out.

::

    browser ──ws──▶ Ingress ──▶ FrameDecoder ──▶ GaussianInference ──▶ SplatPacker ──▶ Ingress ──ws──▶ browser
    camera          CPU, N         CPU, N           GPU or CPU, N          CPU, N
    viewer          Starlette      bytes → RGB      RGB → Gaussians        Gaussians → bytes

Each deployment is one thin file; :mod:`deployments.graph` binds them. The code they call knows nothing of
Ray. Its packages, each importing only from those before it: :mod:`deployments.splats`, :mod:`deployments.stream`,
:mod:`deployments.pipeline` (what goes from stage to stage), :mod:`deployments.scene`, :mod:`deployments.models`,
:mod:`deployments.stages`, :mod:`deployments.config`, :mod:`deployments.http`, :mod:`deployments.ops`.
"""
