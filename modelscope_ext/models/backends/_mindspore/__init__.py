"""What the two backends on MindSpore share: devices and dtypes, quiet loading, and kernels that its CPU side lacks."""
