# Opens .loupe files with the circuit-loupe.exe beside this file, for this user only. -Remove takes it back.
param([switch]$Remove)
$type = "HKCU:\Software\Classes\CircuitLoupe.Project"
$ending = "HKCU:\Software\Classes\.loupe"
if ($Remove) {
    Remove-Item -Path $type, $ending -Recurse -ErrorAction SilentlyContinue
    exit 0
}
$program = Join-Path $PSScriptRoot "circuit-loupe.exe"
New-Item -Path "$type\shell\open\command" -Force | Out-Null
New-Item -Path "$type\DefaultIcon" -Force | Out-Null
New-Item -Path $ending -Force | Out-Null
Set-Item -Path $type -Value "Circuit Loupe project"
Set-Item -Path "$type\DefaultIcon" -Value "$program,0"
Set-Item -Path "$type\shell\open\command" -Value "`"$program`" `"%1`""
Set-Item -Path $ending -Value "CircuitLoupe.Project"
